# Sourced first by the terminal-*.sh scripts, which are called with the home, the session's name and their own arguments.
# They run inside an environment, as its user, in a home where anything may be anywhere.

set -u -o pipefail
# The environment's variables are for what is started in it, as they are. Nothing else is given any of them, because the
# variables of these scripts may have the same names: all but those that nobody else may use, which begin with DEVPOCKET_.
mapfile -d '' -t DEVPOCKET_given </proc/self/environ
for DEVPOCKET_pair in "${DEVPOCKET_given[@]}"; do
    export -n "${DEVPOCKET_pair%%=*}"
done 2>/dev/null

files=${0%/*}
export HOME=$1 PATH LC_ALL LC_CTYPE LANG
DEVPOCKET_given+=("HOME=$HOME")
session=$2
shift 2

workspace=$HOME/workspace
state=$HOME/.tmux
socket=$state/tmux.sock
saved=$state/saved
field_separator=$'\x1f'
line_end_mark=$'\x1e'
maximum_windows=20
maximum_panes=50
maximum_lines=2000
maximum_bytes=1048576

# The environment's own PATH is for its shells, and for tmux: a client gives its own to the windows that it makes. These
# scripts use the system's programs.
system_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
environment_path=${PATH:-$system_path}
PATH=$system_path
tmux_program=$(type -P tmux)
timeout_program=$(type -P timeout)
if [[ -z ${LC_ALL:-}${LC_CTYPE:-}${LANG:-} ]]; then
    LANG=C.UTF-8
    DEVPOCKET_given+=("LANG=$LANG")
fi

# A tmux server outlives whoever starts it: it must not inherit what that one had open. (One is this script, for bash.)
for path in /proc/self/fd/*; do
    descriptor=${path##*/}
    if ((descriptor > 2)) && ! [[ $path -ef $0 ]]; then
        eval "exec $descriptor>&-"
    fi
done 2>/dev/null

# Becomes a program that has the environment's variables. Changes those of this shell, so it is for a subshell.
become() {
    for DEVPOCKET_pair in "${DEVPOCKET_given[@]}"; do
        export "$DEVPOCKET_pair"
    done 2>/dev/null
    unset TMUX TMUX_PANE SHLVL OLDPWD
    exec "$@"
}

# Descriptor 9 is the lock, which a server that is started here must not keep.
in_tmux() {
    PATH=$environment_path "$tmux_program" -u -S "$socket" "$@" 9<&-
}

# Runs another one of these scripts. Arguments: its deadline in seconds, its name, its own arguments.
run_script() {
    (become "$timeout_program" -k 1 "$1" "$BASH" -p "$files/terminal-$2.sh" "$HOME" "$session" "${@:3}" 9<&-)
}

has_session() {
    in_tmux has-session -t "=$session" 2>/dev/null
}

# One at a time makes or saves the session. The folder itself is locked: no lock file that could be something else.
lock() {
    exec 9<"$state" && flock -w 5 9
}

# tmux expands formats in names and directories: ## is a #, but #[ stays as it is. A ; at the end of an argument would be
# the end of a command.
literally() {
    local text=${1//\#/##}
    text=${text//'##['/'#['}
    printf '%s' "${text/%;/\\;}"
}

# At most maximum_bytes of the end of what comes in, in whole lines, without the blanks that joined lines end with.
last_lines() {
    local LC_ALL=C text
    text=$(sed -e 's/ *$//' | tail -c "$maximum_bytes")
    if ((${#text} >= maximum_bytes - 1)); then
        text=${text#*$'\n'}
    fi
    if [[ -n $text ]]; then
        printf '%s\n' "$text"
    fi
}
