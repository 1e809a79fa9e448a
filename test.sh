#!/usr/bin/env bash
# Sets the tests up, once, and runs all checks: style, types, imports, tests. Arguments go to pytest, e.g.
# ./test.sh -k terminal. Exits with 0 only when every check passes; says which did not.
set -euo pipefail
cd -P -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" # .venv holds its own path, which must be one
# shellcheck source=scripts/setup.sh
source scripts/setup.sh

make_environment ".[dev]"
servers=()
for server in redis-server nginx; do
    has "$server" || servers+=("$server")
done
add_system_packages tmux:tmux bwrap:bubblewrap pasta:passt xz:xz-utils redis-server:redis-server nginx:nginx
if [ "${#servers[@]}" -gt 0 ] && [ -d /run/systemd/system ]; then
    # The tests start their own; Debian has just started each as a service of the machine, too.
    as_root systemctl disable --now "${servers[@]}" >/dev/null 2>&1 || true
fi

failed=()
check() {
    printf '\n== %s\n' "$*"
    ".venv/bin/$1" "${@:2}" || failed+=("$*")
}

export PATH="$PWD/.venv/bin:$PATH:/usr/sbin:/sbin"
check ruff check --no-cache .
check ruff format --no-cache --check .
check mypy
check lint-imports
check pytest "$@"

echo
if [ "${#failed[@]}" -gt 0 ]; then
    printf 'Failed: %s\n' "${failed[@]}"
    exit 1
fi
echo "All checks passed."
