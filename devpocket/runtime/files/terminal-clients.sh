# Prints a line per attached client: process id, terminal, columns, rows.
. "${0%/*}/terminal-tmux.sh"

in_tmux list-clients -t "=$session" -F '#{client_pid} #{client_tty} #{client_width} #{client_height}' 2>/dev/null || true
