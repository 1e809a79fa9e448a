# Becomes a tmux client on this terminal. Argument: a name for the client, where it will be detached by name.
. "${0%/*}/terminal-tmux.sh"

# Prints how many rows tmux takes for itself (unless its user wants it to, none); fails without a session.
status_rows() {
    local status
    status=$(in_tmux display-message -p -t "=$session:" '#{status}' 2>/dev/null) || return
    case $status in
        on) echo 1 ;;
        [2-5]) echo "$status" ;;
        *) echo 0 ;;
    esac
}

if ! taken=$(status_rows); then
    run_script 20 ensure >/dev/null 2>&1
    taken=$(status_rows)
fi
read -r rows columns <<<"$(stty size)"
if ((rows == 0)); then
    # Who has not told a size takes the window as it is: most likely it is the phone that was there before.
    read -r rows columns <<<"$(in_tmux display-message -p -t "=$session:" '#{window_height} #{window_width}')"
    rows=$((${rows:-24} + taken)) columns=${columns:-80}
    stty rows "$rows" columns "$columns"
fi

export TERM=xterm-256color
name_client=()
if [[ ${1:-} =~ ^[A-Za-z0-9_]+$ ]]; then
    name_client=(set-option -g "@devpocket_client_$1" "$$" \;)
fi
# What has scrolled off is put aside in the same breath in which the screen is drawn, so that no line is missed and none
# comes twice. The size comes first, because it decides which lines have scrolled off; window-size is unset again for it
# to follow the client used last, which the one that attaches is. Without lines that scrolled off, -E -1 would mean the
# screen's first.
buffer=devpocket_history
exec "$tmux_program" -u -S "$socket" \
    resize-window -t "=$session:" -x "$columns" -y "$((rows > taken ? rows - taken : 1))" \; \
    set-buffer -b "$buffer" - \; delete-buffer -b "$buffer" \; \
    "${name_client[@]}" \
    attach-session -t "=$session" \; \
    set-option -w -u -t "=$session:" window-size \; \
    run-shell -C "if-shell -F -t '=$session:' '##{history_size}' {
        capture-pane -b $buffer -t '=$session:' -e -J -S -$maximum_lines -E -1
    }"
