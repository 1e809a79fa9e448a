"""Ending a sandbox so that nothing of it is left: no process, no network, no control group."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from devpocket.errors import UnavailableError
from devpocket.ids import EnvironmentId
from devpocket.runtime.local.accounting import ProcessFinder
from devpocket.runtime.local.cgroups import Cgroups, remove_group
from devpocket.runtime.local.record import SandboxRecord

_POLL_S = 0.01
_KILL_S = 10.0
_TERM = (signal.SIGTERM, signal.SIGCONT)
_HANGUP = (signal.SIGHUP, signal.SIGCONT)


async def end_sandbox(
    environment_id: EnvironmentId, sandbox: SandboxRecord, find: ProcessFinder, grace_s: float
) -> None:
    """End every process of a sandbox: first asked, then killed; nothing of it is left when this returns.

    Raises UnavailableError when something does not end within 10 s (a process that hangs in the kernel). Cancelling
    leaves a part; calling again goes on.
    """
    await _ask(environment_id, sandbox, find, grace_s)
    deadline = time.monotonic() + _KILL_S
    # With a PID namespace, everything else ends with its first process (pid_namespaces(7)).
    while sandbox.init.kill() or await _signal(environment_id, sandbox, find, (signal.SIGKILL,)):
        await _pause(deadline, f"init {sandbox.init}")
    while sandbox.passt is not None and sandbox.passt.kill():
        await _pause(deadline, f"passt {sandbox.passt}")
    await remove_groups(sandbox, deadline)


async def remove_groups(sandbox: SandboxRecord, deadline: float) -> None:
    """Remove the control groups of a sandbox that has ended; the kernel may hold them for a moment."""
    while not _remove_groups(sandbox):
        await _pause(deadline, f"groups {sandbox.groups}")


async def end_groups(cgroups: Cgroups, environment_id: EnvironmentId) -> None:
    """Remove the control groups of an environment without a sandbox, and end what a start left in them.

    Raises UnavailableError when something does not end within 10 s. Cancelling is safe.
    """
    deadline = time.monotonic() + _KILL_S
    while not cgroups.remove(environment_id):
        await _pause(deadline, "control groups without a sandbox")


def _remove_groups(sandbox: SandboxRecord) -> bool:
    removed = [remove_group(Path(folder)) for folder in sandbox.groups]
    return all(removed)


async def _ask(environment_id: EnvironmentId, sandbox: SandboxRecord, find: ProcessFinder, grace_s: float) -> None:
    """Tell the processes to end and give them their time: what catches the signal can save its work.

    Interactive shells do not listen to SIGTERM; SIGHUP comes later, because it ends what has only prepared for SIGTERM.
    """
    for numbers in (_TERM, _HANGUP):
        deadline = time.monotonic() + grace_s / 2
        there = await _signal(environment_id, sandbox, find, numbers)
        while there and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
            there = await _signal(environment_id, sandbox, find, ())


async def _signal(
    environment_id: EnvironmentId, sandbox: SandboxRecord, find: ProcessFinder, numbers: tuple[signal.Signals, ...]
) -> int:
    """Send signals to all processes but the first and return how many there are."""

    def send() -> int:
        pids = [pid for pid in find(environment_id, sandbox) if pid != sandbox.init.pid]
        return sum(_send(pid, environment_id, sandbox, find, numbers) for pid in pids)

    return await asyncio.to_thread(send)


def _send(
    pid: int,
    environment_id: EnvironmentId,
    sandbox: SandboxRecord,
    find: ProcessFinder,
    numbers: tuple[signal.Signals, ...],
) -> bool:
    """Signal one process, if it still is the one that was found: its pid may have been given away meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            if find.holds(pid, environment_id, sandbox):
                for number in numbers:
                    signal.pidfd_send_signal(pidfd, number)
                return True
        finally:
            os.close(pidfd)
    return False


async def _pause(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise UnavailableError("The environment does not end.", detail=what)
    await asyncio.sleep(_POLL_S)
