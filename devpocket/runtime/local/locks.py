"""One change at a time per environment, among the tasks of this process and among processes."""

import asyncio
import contextlib
import fcntl
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from devpocket.ids import EnvironmentId

_POLL_S = 0.02


class EnvironmentLocks:
    """Locks by environment; one that nobody holds or waits for takes no room."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[EnvironmentId, asyncio.Lock] = {}
        self._users: Counter[EnvironmentId] = Counter()

    @contextlib.asynccontextmanager
    async def hold(self, environment_id: EnvironmentId) -> AsyncIterator[None]:
        """Be the only one who changes this environment. Cancelling while waiting is safe.

        Among processes it is a lock on a file (flock(2)), which the kernel lets go of when a process dies.
        """
        lock = self._locks.setdefault(environment_id, asyncio.Lock())
        self._users[environment_id] += 1
        try:
            async with lock, self._hold_file(environment_id):
                yield
        finally:
            self._users[environment_id] -= 1
            if not self._users[environment_id]:
                del self._users[environment_id], self._locks[environment_id]

    @contextlib.asynccontextmanager
    async def _hold_file(self, environment_id: EnvironmentId) -> AsyncIterator[None]:
        path = self._folder / environment_id
        # Nothing tells when another process lets go of it.
        while (descriptor := _try(path)) is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        try:
            yield
        finally:
            # While it is held: whoever has it open already sees that it is not the one in the folder any more.
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _try(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    os.close(descriptor)
    return None
