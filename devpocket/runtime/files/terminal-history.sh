# Prints what had scrolled off when the last client attached.
. "${0%/*}/terminal-tmux.sh"

in_tmux show-buffer -b devpocket_history 2>/dev/null | last_lines
