#!/usr/bin/env bash
# Sets the tests up, once, and runs all checks: style, types, imports, tests. Arguments go to pytest, e.g.
# ./test.sh -k terminal. Exits with 0 only when every check passes; says which did not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/setup.sh
source scripts/setup.sh

# Adds servers that the tests start by themselves; Debian would start each as a service of the machine, too.
add_servers() {
    local server
    for server in "$@"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "$server" >/dev/null && continue
        install_packages "$server" || continue
        [ ! -d /run/systemd/system ] || as_root systemctl disable --now "$server" >/dev/null 2>&1 || true
    done
}

add_system_packages tmux:tmux bwrap:bubblewrap pasta:passt xz:xz-utils
add_servers redis-server nginx
make_environment ".[dev]"

failed=()
check() {
    printf '\n== %s\n' "$*"
    ".venv/bin/$1" "${@:2}" || failed+=("$*")
}

export PATH="$PWD/.venv/bin:$PATH:/usr/sbin:/sbin"
check ruff check .
check ruff format --check .
check mypy
check lint-imports
check pytest "$@"

echo
if [ "${#failed[@]}" -gt 0 ]; then
    printf 'Failed: %s\n' "${failed[@]}"
    exit 1
fi
echo "All checks passed."
