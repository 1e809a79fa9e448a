"""Resource limits of single processes (getrlimit(2)): what holds where there are no control groups, and file sizes.

Address space (RLIMIT_AS) is not used: Node.js, Go and Java reserve far more than they touch and would not even start.
RLIMIT_DATA counts what can be written to. Both are per process, so the watch looks at the sum.
"""

import contextlib
import resource
from collections.abc import Iterable

from devpocket.domain.environments import ResourceLimits

OPEN_FILES = 65_536


def limit_argv(limits: ResourceLimits, *, processes: int, holds_memory: bool, full: bool) -> list[str]:
    """Return what to put before a command line, inside, so that it and all it starts are limited.

    ``processes`` counts per environment only when this runs in its own user namespace. ``holds_memory``: nothing else
    holds the memory. ``full``: the storage is used up, files do not grow for now.
    """
    return [
        "prlimit",
        "--core=0",
        f"--nofile={_at_most(resource.RLIMIT_NOFILE, OPEN_FILES)}",
        f"--nproc={_at_most(resource.RLIMIT_NPROC, processes)}",
        f"--fsize={0 if full else limits.storage_bytes}:{limits.storage_bytes}",
        *([f"--data={limits.memory_bytes}"] if holds_memory else []),
        "--",
    ]


def _at_most(kind: int, wanted: int) -> int:
    """Return ``wanted``, or less where this process may not give more."""
    _, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def set_growth(pids: Iterable[int], storage_bytes: int, *, full: bool) -> None:
    """Allow or forbid files to grow in running processes: writing gives EFBIG, reading and deleting work on."""
    for pid in pids:
        # It may have ended in between.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0 if full else storage_bytes, storage_bytes))
