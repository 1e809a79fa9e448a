"""Reading what processes use from /proc (proc(5)). Blocks for as long as there are processes: call it off the loop."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from devpocket.ids import EnvironmentId
from devpocket.runtime.local.identity import TICKS_PER_S, stat_fields
from devpocket.runtime.local.record import SandboxRecord

MARK = "DEVPOCKET_ENVIRONMENT_ID"
"""The variable by which everything in an environment knows where it is."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessSums:
    """What a set of processes uses."""

    processes: int
    memory_bytes: int
    """Resident, shared pages divided among those that share them where the kernel says so."""
    cpu_s: float
    """Of those that live and of the ended children that they have waited for."""
    largest_pid: int | None
    """The one with the most memory, the first process excepted."""


class ProcessFinder(Protocol):
    """Knows which processes of this machine belong to which environment. All of it blocks: call it off the loop."""

    def __call__(self, environment_id: EnvironmentId, sandbox: SandboxRecord) -> list[int]:
        """Return the living processes of a sandbox, as this machine counts them."""
        ...

    def holds(self, pid: int, environment_id: EnvironmentId, sandbox: SandboxRecord) -> bool:
        """Tell whether a process is one of them."""
        ...


class NamespaceFinder:
    """By their PID namespace."""

    def __call__(self, environment_id: EnvironmentId, sandbox: SandboxRecord) -> list[int]:
        """See ProcessFinder."""
        wanted = _namespace(sandbox.init.pid)
        if wanted is None or not sandbox.init.is_alive:
            return []
        return [pid for pid in all_pids() if _namespace(pid) == wanted]

    def holds(self, pid: int, environment_id: EnvironmentId, sandbox: SandboxRecord) -> bool:
        """See ProcessFinder."""
        wanted = _namespace(sandbox.init.pid)
        return wanted is not None and _namespace(pid) == wanted and sandbox.init.is_alive


class MarkFinder:
    """By the environment's id among the variables that they were started with: for LOCAL_SANDBOX=none."""

    def __call__(self, environment_id: EnvironmentId, sandbox: SandboxRecord) -> list[int]:
        """See ProcessFinder."""
        return [pid for pid in all_pids() if self.holds(pid, environment_id, sandbox)]

    def holds(self, pid: int, environment_id: EnvironmentId, sandbox: SandboxRecord) -> bool:
        """See ProcessFinder."""
        if pid == sandbox.init.pid:
            return sandbox.init.is_alive
        with contextlib.suppress(OSError):
            mark = f"{MARK}={environment_id}".encode()
            return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return False


def all_pids() -> list[int]:
    """Return all processes of this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - a fifth of iterdir's time


def _namespace(pid: int) -> str | None:
    """Return the name of a process' PID namespace; None when it has ended or is somebody else's."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def sum_up(pids: Iterable[int], init: int, *, exact: bool = True) -> ProcessSums:
    """Return what these processes use together; ``init`` is the first of them.

    ``exact`` divides shared memory among those that share it, which costs a walk through the memory of each.
    """
    count, cpu_ticks, memory, largest = 0, 0, 0, (0, -1)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            fields = stat_fields(pid)
            if fields[0] == "Z":
                continue
            resident_bytes = int(fields[21]) * PAGE_BYTES
            own = _share_bytes(pid, resident_bytes) if exact else resident_bytes
            count += 1
            cpu_ticks += sum(int(field) for field in fields[11:15])
            memory += own
            if pid != init:
                largest = max(largest, (own, pid))
    return ProcessSums(count, memory, cpu_ticks / TICKS_PER_S, largest[1] if largest[1] >= 0 else None)


def _share_bytes(pid: int, resident_bytes: int) -> int:
    """Return the proportional share of memory (``Pss``), or the resident size where that cannot be read."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return resident_bytes


def network_bytes(pid: int) -> tuple[int, int] | None:
    """Return the bytes received and sent so far in a process' network, loopback excepted; None when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return None
    fields = [line.replace(":", " ").split() for line in lines]
    outside = [field for field in fields if field[0] != "lo"]
    return sum(int(field[1]) for field in outside), sum(int(field[9]) for field in outside)
