# The program of every pane: login shells, of which the session's last one is followed by a fresh one. (A hook that
# respawns the pane would wipe its screen, and tmux 3.3 calls it only once a pane.)
# Arguments, for a restored pane: the file of its scrollback, the channel on which to say that it is shown, the directory.

# The environment's own PATH is for the shells, and so are all its variables: those of this script begin with what none of
# them does.
DEVPOCKET_environment_path=${PATH-}
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

show_scrollback() {
    if [[ -f $1 ]]; then
        head -c 1048576 -- "$1"
        printf '\033[0m'
    fi
    tmux wait-for -S "$2"
}

login_shell() {
    (
        shopt -s execfail
        PATH=$DEVPOCKET_environment_path
        exec -l "$SHELL"
        exec -l "$BASH"
    )
}

# A shell whose start files end it must not go round in circles, and somebody has to be able to mend it.
plain_shell() {
    sleep 1
    echo 'Your login shell ends as soon as it starts. This one reads no start files:'
    echo 'look into ~/.profile, ~/.bash_profile and ~/.bashrc.'
    PATH=$DEVPOCKET_environment_path "$BASH" --noprofile --norc
}

is_last() {
    local format='#{m:devpocket_*,#{session_name}} #{session_windows} #{window_panes}'
    [[ $(tmux display-message -p -t "$TMUX_PANE" "$format") == '1 1 1' ]]
}

# Meant for a shell without job control, which shares this one's process group.
trap : INT QUIT
unset SHLVL
if (($# == 3)); then
    show_scrollback "$1" "$2"
    cd -- "$3" || cd
fi
DEVPOCKET_short_lives=0
while true; do
    DEVPOCKET_began=$EPOCHSECONDS
    if ((DEVPOCKET_short_lives < 4)); then login_shell; else plain_shell; fi
    is_last || break
    if ((EPOCHSECONDS - DEVPOCKET_began <= 1)); then ((DEVPOCKET_short_lives += 1)); else DEVPOCKET_short_lives=0; fi
    stty sane
    cd -- "$HOME/workspace" || cd
done
