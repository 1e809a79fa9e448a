# Detaches the client that attached under a name. Argument: the name.
. "${0%/*}/terminal-tmux.sh"

[[ $1 =~ ^[A-Za-z0-9_]+$ ]] || exit 2
option=@devpocket_client_$1
process=$(in_tmux show-options -gqv "$option" 2>/dev/null)
if [[ -n $process ]]; then
    in_tmux list-clients -F '#{client_pid} #{client_tty}' | while read -r other terminal; do
        [[ $other != "$process" ]] || in_tmux detach-client -t "$terminal"
    done
    in_tmux set-option -gu "$option"
fi
true
