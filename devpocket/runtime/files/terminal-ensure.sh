# Makes the tmux server and the session exist. Arguments: names of variables that new windows shall see.
. "${0%/*}/terminal-tmux.sh"

# Something else where a folder or the socket has to be is moved out of the way, never removed.
set_aside() {
    mv -T -- "$1" "$1.aside.$$.$RANDOM"
}

make_folder() {
    if [[ ! -d $1 ]]; then
        if [[ -e $1 || -L $1 ]]; then
            set_aside "$1"
        fi
        mkdir -p -m "$2" -- "$1"
    fi
}

# Who has taken from itself the right to what the terminal needs has locked itself out, and is let in again.
unlock() {
    [[ -r $1 && -w $1 && -x $1 ]] || chmod -- u+rwx "$1" 2>/dev/null
}

terminal_type() {
    local folder
    for folder in "$HOME/.terminfo" /etc/terminfo /lib/terminfo /usr/share/terminfo; do
        if [[ -r $folder/t/tmux-256color ]]; then
            echo tmux-256color
            return
        fi
    done
    echo screen-256color
}

# Prints the process id of the server.
start_server() {
    if [[ ( -e $socket || -L $socket ) && ! -S $socket ]]; then
        set_aside "$socket"
    fi
    (
        export DEVPOCKET_FILES=$files
        cd -- "$workspace" || cd /
        become "$tmux_program" -u -S "$socket" -f "$files/tmux.conf" start-server \; \
            set-option -g default-terminal "$(terminal_type)" \; \
            set-environment -gr DEVPOCKET_FILES \; \
            display-message -p '#{pid}' 9<&-
    )
}

# Whatever it does, a start does not wait for it for long, and goes on without it if need be.
read_own_configuration() {
    local own
    for own in "$HOME/.tmux.conf" "$HOME/.config/tmux/tmux.conf"; do
        if [[ -f $own ]]; then
            PATH=$environment_path "$timeout_program" -k 1 2 "$tmux_program" -u -S "$socket" source-file "$own" \
                9<&- >/dev/null 2>&1
        fi
    done
}

ensure_server() {
    local process
    if [[ -z $(in_tmux show-options -gqv @devpocket_configured 2>/dev/null) ]]; then
        process=$(start_server)
        read_own_configuration
        if ! in_tmux set-option -g @devpocket_configured 1 2>/dev/null; then
            # The last thing that a server does is to remove its socket, or that of its successor.
            while [[ -d /proc/$process ]]; do sleep 0.02; done
            start_server >/dev/null
        fi
    fi
}

fresh_session() {
    in_tmux new-session -d -s "$session" -x 80 -y 24 -c "$(literally "$workspace")"
}

# Lets new windows see the variables of these names as they are, and no more those that were given before and are gone.
# tmux keeps the names, for the next time.
refresh_variables() {
    local name pair quote=\' before
    local -A given=()
    for pair in "${DEVPOCKET_given[@]}"; do
        given[${pair%%=*}]=${pair#*=}
    done
    read -ra before < <(in_tmux show-options -gqv @devpocket_variables)
    {
        printf "set-option -g @devpocket_variables '%s'\n" "${*//"$quote"/}"
        for name in "${before[@]}" "$@"; do
            if ! [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]]; then
                continue
            elif [[ -v given[$name] ]]; then
                printf "set-environment -g %s '%s'\n" "$name" "${given[$name]//$quote/$quote\\$quote$quote}"
            else
                printf 'set-environment -gu %s\n' "$name"
            fi
        done
    } | in_tmux source-file - # not as arguments, which anybody may read (ps)
}

unlock "$HOME"
make_folder "$state" 700
if ! unlock "$state"; then
    # A link to a folder that is somebody else's.
    set_aside "$state"
    make_folder "$state" 700
fi
if [[ -S $socket && ! -w $socket ]]; then
    chmod -- u+rw "$socket"
fi
make_folder "$workspace" 755
lock || echo 'The terminal is being made by somebody else for a long time: going on without them.' >&2
if ! has_session; then
    ensure_server
    run_script 5 restore ||
        echo 'The saved terminal could not be restored as a whole.' >&2
    has_session || fresh_session
fi
refresh_variables "$@"
has_session
