# Makes the session from its saved state. Called by terminal-ensure.sh, which looks afterwards whether there is one, and
# within whose deadline this ends. Nothing that is read here is believed: it is checked, and then only used as text.
. "${0%/*}/terminal-tmux.sh"

declare -A windows=()     # identifiers by saved index
declare -A layouts=()     # the saved layout by identifier
active_window='' active_panes=() zoomed_panes=() shown=()

is_sound() {
    local pattern='^[0-9a-f]{4},[0-9x,{}[]+$'
    [[ $window =~ ^[0-9]{1,4}$ && $pane =~ ^[0-9]{1,4}$ ]] || return
    [[ ${layout//]/} =~ $pattern && ${#layout} -le 8192 && ${#name} -le 500 ]] || return
    [[ $width =~ ^[1-9][0-9]{0,2}$ && $height =~ ^[1-9][0-9]{0,2}$ ]]
}

# The pane's program: shows the scrollback, then is a login shell in its directory.
set_program() {
    channel=devpocket_shown_${#shown[@]}
    path=${path//$line_end_mark/$'\n'}
    [[ $path == /* && -d $path && -x $path ]] || path=$workspace
    program=("$BASH" -p "$files/terminal-shell.sh" "$saved/scrollback.$window.$pane" "$channel" "${path/%;/\\;}")
}

make_window() {
    local named=() start=(-d -P -F "#{window_id}$field_separator#{pane_id}$field_separator#{window_index}") made index
    [[ $automatic == 0 ]] && named=(-n "$(literally "$name")")
    if ((${#windows[@]})); then
        made=$(in_tmux new-window "${start[@]}" -t "=$session:$window" "${named[@]}" "${program[@]}") || return
    else
        made=$(in_tmux new-session "${start[@]}" -s "$session" -x "$width" -y "$height" \
            -c "$(literally "$workspace")" "${named[@]}" "${program[@]}") || return
    fi
    IFS=$field_separator read -r window_id pane_id index <<<"$made"
    if [[ $index != "$window" ]]; then
        in_tmux move-window -d -s "$window_id" -t "=$session:$window"
    fi
    windows[$window]=$window_id
    layouts[$window_id]=$layout
}

add_pane() {
    window_id=${windows[$window]}
    # Evenly, so that there is room for one more; the saved layout follows.
    in_tmux select-layout -t "$window_id" tiled
    pane_id=$(in_tmux split-window -d -P -F '#{pane_id}' -t "$window_id.{bottom-right}" "${program[@]}")
}

restore_pane() {
    local window_id pane_id program channel
    set_program
    if [[ -v windows[$window] ]]; then
        add_pane || return
    else
        ((${#windows[@]} < maximum_windows)) || return
        make_window || return
    fi
    shown+=("$channel")
    [[ $window_active == 1 ]] && active_window=$window_id
    if [[ $pane_active == 1 ]]; then
        active_panes+=("$pane_id")
        [[ $zoomed == 1 ]] && zoomed_panes+=("$pane_id")
    fi
}

[[ -f $saved/panes ]] || exit 0
while IFS=$field_separator read -r window pane window_active pane_active zoomed automatic width height layout \
    _ _ _ _ _ name path; do
    is_sound && restore_pane
done < <(head -c 524288 -- "$saved/panes" | head -n "$maximum_panes") 2>/dev/null

for window_id in "${!layouts[@]}"; do
    in_tmux select-layout -t "$window_id" "${layouts[$window_id]}"
done 2>/dev/null
for pane_id in "${active_panes[@]}"; do
    in_tmux select-pane -t "$pane_id"
done
for pane_id in "${zoomed_panes[@]}"; do
    in_tmux resize-pane -Z -t "$pane_id"
done
if [[ -n $active_window ]]; then
    in_tmux select-window -t "$active_window"
fi
# Saving must not come before the panes have shown what was saved.
for channel in "${shown[@]}"; do
    in_tmux wait-for "$channel"
done
