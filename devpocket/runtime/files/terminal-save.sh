# Saves windows, layout, working directories and scrollback. Exits with 3 when there is no session.
. "${0%/*}/terminal-tmux.sh"
umask 077

# Everything that is restored, in this order; free text comes last, since only it may hold anything. Line ends in it are
# marked, because a pane is a line.
line_end=$'\n'
fields=(window_index pane_index window_active pane_active window_zoomed_flag automatic-rename
    window_width window_height window_layout pane_id alternate_on cursor_y alternate_saved_y history_size
    "s/[$line_end$field_separator]/ /:window_name" "s/$line_end/$line_end_mark/:pane_current_path")

list_panes() {
    local format
    printf -v format "$field_separator#{%s}" "${fields[@]}"
    in_tmux list-panes -s -t "=$session" -F "${format#"$field_separator"}" 2>/dev/null
}

capture() {
    in_tmux capture-pane -p -e -J -t "$@"
}

# Under a full-screen program lies the screen that its shell will find again: that one is saved.
capture_pane() {
    local pane=$1 alternate=$2 row=$3 alternate_row=$4 history=$5
    if ((alternate)); then
        ((history)) && capture "$pane" -S "-$maximum_lines" -E -1
        capture "$pane" -a -q -E "$alternate_row"
    else
        capture "$pane" -S "-$maximum_lines" -E "$row"
    fi
}

save_panes() {
    local window pane number alternate row alternate_row history _
    while IFS=$field_separator read -r window pane _ _ _ _ _ _ _ number alternate row alternate_row history _; do
        [[ $window.$pane.$alternate.$row.$alternate_row.$history =~ ^[0-9.]+$ && $number == %* ]] || continue
        capture_pane "$number" "$alternate" "$row" "$alternate_row" "$history" | last_lines \
            >"$1/scrollback.$window.$pane" || return
    done <"$1/panes"
}

# A link that is renamed over another one: there is always the old state or the new one, and either is whole.
publish() {
    local link=$state/saved.link folder
    rm -rf -- "$link"
    ln -s -- "${1##*/}" "$link"
    mv -f -T -- "$link" "$saved" 2>/dev/null || { rm -rf -- "$saved" && mv -T -- "$link" "$saved"; } || return
    for folder in "$saved".*; do
        [[ $folder == "$1" ]] || rm -rf -- "$folder"
    done
}

[[ -d $state ]] || exit 3
lock || exit 1
panes=$(list_panes) || exit 3
folder=$(mktemp -d -- "$saved.XXXXXXXX") || exit 1
if ! { head -n "$maximum_panes" <<<"$panes" >"$folder/panes" && save_panes "$folder" && publish "$folder"; }; then
    rm -rf -- "$folder"
    exit 1
fi
