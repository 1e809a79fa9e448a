#!/usr/bin/env bash
# Sets DevPocket Server up, once, and starts it. Arguments go to `devpocket serve`, e.g. ./start.sh --port 9000
#
# Works from any directory, through links, and any number of times; what is missing is added, also after an interrupted
# run. Once set up it needs no network.
set -euo pipefail
cd -P -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" # .venv holds its own path, which must be one
# shellcheck source=scripts/setup.sh
source scripts/setup.sh

make_environment .
add_system_packages tmux:tmux bwrap:bubblewrap pasta:passt
exec .venv/bin/python -m devpocket serve "$@"
