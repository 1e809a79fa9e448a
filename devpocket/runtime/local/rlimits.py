"""Resource limits of single processes (getrlimit(2)): what holds where there are no control groups, and file sizes.

Address space (RLIMIT_AS) is not used: Node.js, Go and Java reserve far more than they touch and would not even start.
RLIMIT_DATA counts what can be written to. Both are per process, so the watch looks at the sum.
"""

import contextlib
import resource
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from devpocket.domain.environments import ResourceLimits
from devpocket.errors import UnavailableError
from devpocket.runtime.local.spawning import run
from devpocket.runtime.local.uids import drop_argv

OPEN_FILES = 65_536
_SET_DEADLINE_S = 30.0
_SET_SCRIPT = 'size=$1; shift; for pid; do prlimit --pid "$pid" --fsize="$size:"; done 2>/dev/null; true'


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


async def set_growth(pids: Iterable[int], uid: int, storage_bytes: int, *, full: bool) -> None:
    """Allow or forbid files to grow in running processes: writing gives EFBIG, reading and deleting work on.

    ``uid`` is theirs. Only the soft limit is changed, because hard ones can be raised by few (CAP_SYS_RESOURCE).
    """
    wanted: dict[float, list[str]] = defaultdict(list)
    for pid in pids:
        # It may have ended in between.
        with contextlib.suppress(OSError):
            soft, hard = _file_size_limits(pid)
            allowed = 0 if full else min(storage_bytes, hard)
            if soft != allowed:
                wanted[allowed].append(str(pid))
    for allowed, selected in wanted.items():
        # As their own user: a root without CAP_SYS_RESOURCE, as in most containers, may not (prlimit(2)).
        argv = [*drop_argv(uid), "sh", "-c", _SET_SCRIPT, "sh", f"{allowed:.0f}", *selected]
        try:
            await run(argv, deadline_s=_SET_DEADLINE_S)
        except TimeoutError as error:
            raise UnavailableError("The environment does not answer.", detail="prlimit takes too long") from error


def _file_size_limits(pid: int) -> tuple[float, float]:
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max file size"):
            soft, hard = (float("inf") if word == "unlimited" else int(word) for word in line.split()[3:5])
            return soft, hard
    return float("inf"), float("inf")
