"""``python -m devpocket``."""

from devpocket.cli import main

main()
