# Becomes a tmux client on this terminal. Argument: a name for the client, where it will be detached by name.
. "${BASH_SOURCE[0]%/*}/terminal-tmux.sh"

has_session || timeout -k 1 20 bash -p "$files/terminal-ensure.sh" "$HOME" "$session" >/dev/null 2>&1

export TERM=xterm-256color
name_client=()
if [[ ${1:-} =~ ^[A-Za-z0-9_]+$ ]]; then
    name_client=(set-option -g "@devpocket_client_$1" "$$" \;)
fi
# What has scrolled off is put aside in the same breath in which the screen is drawn, so that no line is missed and none
# comes twice. Without such lines, -E -1 would mean the screen's first.
buffer=devpocket_history
exec tmux -u -S "$socket" \
    set-buffer -b "$buffer" - \; delete-buffer -b "$buffer" \; \
    if-shell -F -t "=$session:" '#{history_size}' \
        "capture-pane -b $buffer -t '=$session:' -e -J -S -$maximum_lines -E -1" \; \
    "${name_client[@]}" \
    attach-session -t "=$session"
