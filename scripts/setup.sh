# shellcheck shell=bash
# What start.sh and test.sh have in common: system packages, and the virtual environment. Sourced, at the project's root.

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$(basename "$0"): $*"
    exit 1
}

# Runs a command as root: as it is, or through sudo where that asks for no password. Fails where neither is to be had.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# Installs Debian packages, or says which command would.
install_packages() {
    local output install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@")
    say "Installing $* ..."
    if ! command -v apt-get >/dev/null || ! as_root true; then
        output="only root may, and sudo is not there or asks for a password"
    elif output="$(as_root "${install[@]}" 2>&1 </dev/null)" \
        || { as_root apt-get update -qq >/dev/null 2>&1 && output="$(as_root "${install[@]}" 2>&1 </dev/null)"; }; then
        return 0
    fi
    say "Not installed: $(tail -n 1 <<<"$output")"
    say "Please run: sudo apt-get install $*"
    return 1
}

# Tells whether a program is there, also where Debian keeps servers.
has() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null; }

# Arguments: program:package. Tries once to install what is missing, later runs only say so: the product itself says what
# it cannot do without. Needs .venv, to remember.
add_system_packages() {
    local pair package
    for pair in "$@"; do
        package="${pair#*:}"
        if has "${pair%%:*}"; then
            continue
        elif [ -e ".venv/.tried-$package" ]; then
            say "$package is missing; please run: sudo apt-get install $package"
        else
            touch ".venv/.tried-$package"
            install_packages "$package" || true
        fi
    done
}

# Prints the first Python that is new enough.
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    fail "Python 3.11 or newer is needed and was not found; please run: sudo apt-get install python3 python3-venv"
}

# Tells whether .venv can be used: made to its end, here (its programs hold its path), of a Python that is still there,
# and with no installation cut off in the middle. Without its pyvenv.cfg (PEP 405) it would install into the Python that
# it was made of.
is_venv_sound() {
    [ -e .venv/pyvenv.cfg ] && [ ! -e .venv/.installing ] && grep -qsF "$PWD/.venv/bin/python" .venv/bin/pip \
        && .venv/bin/python -c "import pip, sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null
}

make_venv() {
    local python package
    python="$(find_python)"
    if ! "$python" -c "import ensurepip, venv" 2>/dev/null; then
        package="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
        install_packages "$package" || fail "$python cannot make a virtual environment without $package."
    fi
    say "Making .venv with $python ..."
    rm -f .venv/pyvenv.cfg # first, so that a removal that is cut off leaves nothing that could be taken for sound
    rm -rf .venv
    "$python" -m venv .venv
}

# Installs the product into .venv, unless that was done for this very pyproject.toml. Argument: what pip is to install,
# "." or ".[dev]", which holds the former. One at a time, should two be started together.
make_environment() {
    local wanted
    exec 9<pyproject.toml
    flock 9
    wanted="$1 $(sha256sum <pyproject.toml)"
    if ! is_venv_sound || ! grep -qsxF "$wanted" .venv/.installed; then
        if [ ! -w . ] || { [ -e .venv ] && [ ! -w .venv ]; }; then
            fail "$PWD/.venv has to be written, and belongs to somebody else; run this as its owner."
        fi
        is_venv_sound || make_venv
        say "Installing DevPocket Server into .venv ..."
        rm -f .venv/.installed
        touch .venv/.installing
        if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable "$1"; then
            rm -f .venv/.installing
            fail "the installation failed; what pip says is above. The next run tries again."
        fi
        printf '%s\n' "$wanted" "${wanted/'[dev]'/}" >.venv/.installed
        rm -f .venv/.installing
    fi
    exec 9<&-
}
