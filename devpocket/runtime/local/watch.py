"""The look-out for what no limit of the kernel holds: full homes, a full disk, networks and memory without a holder."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from devpocket.errors import DevPocketError
from devpocket.ids import EnvironmentId
from devpocket.runtime.local import accounting, rlimits, storage
from devpocket.runtime.local.identity import ProcessIdentity
from devpocket.runtime.local.layout import EnvironmentPaths
from devpocket.runtime.local.record import EnvironmentRecord, SandboxRecord
from devpocket.runtime.local.storage import DiskSpace, StorageReading

log = structlog.get_logger(__name__)

Notice = Callable[[EnvironmentId, str], None]
MOVED_BYTES = 4 * 1024 * 1024
"""Free space that changed by less than this since the last look is nobody's doing."""
RESCAN_S = 60.0
FIRST_LOOK_S = 1.0
"""Whoever asks for the size of a home that was not measured yet waits no longer; the watch measures it to the end."""
_PATIENCE = 10
"""A home is not measured again before this many times the last measurement has passed."""
_TOLERANCE = 0.1
"""Above its limit by more than this part (and 256 MiB), an environment that still grows is stopped."""
_TOLERANCE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunningEnvironment:
    """One environment that runs now."""

    id: EnvironmentId
    paths: EnvironmentPaths
    record: EnvironmentRecord
    sandbox: SandboxRecord


class Watched(Protocol):
    """What the watch looks at and acts on."""

    def running(self) -> list[RunningEnvironment]:
        """Return all environments that run. Blocks briefly."""
        ...

    async def heal(self, environment: RunningEnvironment) -> None:
        """Mend the network of an environment if it is broken."""
        ...

    async def ensure_stopped(self, environment_id: EnvironmentId) -> None:
        """Stop it."""
        ...


@dataclass(slots=True)
class _Home:
    reading: StorageReading
    at_s: float
    took_s: float
    grown_bytes: int = 0
    held_at: StorageReading | None = None
    """Its size when its files were forbidden to grow; None while they may."""

    @property
    def is_full(self) -> bool:
        return self.held_at is not None


@dataclass(slots=True)
class _Disk:
    free_bytes: int = -1
    scanned_at_s: float = field(default=float("-inf"))
    has_moved: bool = False
    """Since the look before: who was writing then has perhaps written a little more."""


class Watch:
    """Looks every few seconds, from :meth:`start` to :meth:`close`."""

    def __init__(
        self,
        watched: Watched,
        find: accounting.ProcessFinder,
        *,
        data_dir: Path,
        every_s: float,
        most_files: int,
        holds_memory: bool,
        on_notice: Notice,
    ) -> None:
        """``holds_memory``: no limit of the kernel holds the memory of all processes together."""
        self._watched = watched
        self._find = find
        self._data_dir = data_dir
        self._every_s = every_s
        self._most_files = most_files
        self._holds_memory = holds_memory
        self._on_notice = on_notice
        self._homes: dict[EnvironmentId, _Home] = {}
        self._disk = _Disk()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="local runtime watch")

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def is_full(self, environment_id: EnvironmentId) -> bool:
        """Tell whether an environment has used up its storage."""
        home = self._homes.get(environment_id)
        return home is not None and home.is_full

    async def size_bytes(self, environment_id: EnvironmentId, paths: EnvironmentPaths) -> int | None:
        """Return the size of a home as of the last look; measured now when there was none, None if that takes long."""
        home = self._homes.get(environment_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S):
                home = home or await self._measure(environment_id, paths)
        return home.reading.size_bytes if home else None

    def forget(self, environment_id: EnvironmentId) -> None:
        """Forget an environment that has ended."""
        self._homes.pop(environment_id, None)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:
                # One failed look must not be the last one.
                log.exception("local_watch_failed", error=str(error))
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Look once at everything."""
        environments = await asyncio.to_thread(self._watched.running)
        for environment_id in self._homes.keys() - {environment.id for environment in environments}:
            self.forget(environment_id)  # another process has ended it
        for environment in environments:
            async with self._apart(environment.id):
                await self._watched.heal(environment)
            if self._holds_memory:
                async with self._apart(environment.id):
                    await self._hold_memory(environment)
        if environments:
            await self._look_at_storage(environments)

    @contextlib.asynccontextmanager
    async def _apart(self, environment_id: EnvironmentId) -> AsyncIterator[None]:
        """What fails with one environment is written down, and leaves the others watched."""
        try:
            yield
        except (DevPocketError, OSError, TimeoutError) as error:
            reason = getattr(error, "detail", None) or str(error)
            log.warning("local_watch_failed", environment_id=environment_id, error=reason)

    async def _hold_memory(self, environment: RunningEnvironment) -> None:
        """Kill the largest process of an environment whose processes use more memory than it may."""
        limit = environment.record.limits.memory_bytes
        init = environment.sandbox.init.pid

        def look() -> ProcessIdentity | None:
            sums = accounting.sum_up(self._find(environment.id, environment.sandbox), init)
            if sums.memory_bytes <= limit or sums.largest_pid is None:
                return None
            with contextlib.suppress(ProcessLookupError):
                return ProcessIdentity.of(sums.largest_pid)
            return None

        largest = await asyncio.to_thread(look)
        if largest is not None and largest.kill():
            self._on_notice(environment.id, "Memory is full: the largest process was ended.")

    async def _look_at_storage(self, environments: list[RunningEnvironment]) -> None:
        space = await asyncio.to_thread(DiskSpace.of, self._data_dir)
        moved = abs(space.free_bytes - self._disk.free_bytes) >= MOVED_BYTES
        now = time.monotonic()
        is_due = self._disk.has_moved or now - self._disk.scanned_at_s >= RESCAN_S
        if moved or is_due or any(self.is_full(one.id) for one in environments):
            self._disk = _Disk(space.free_bytes, now, has_moved=moved)
            for environment in environments:
                async with self._apart(environment.id):
                    await self._look_at_home(environment)
        if space.free_bytes < space.reserve_bytes:
            await self._free_disk(environments)

    async def _look_at_home(self, environment: RunningEnvironment) -> None:
        last = self._homes.get(environment.id)
        if last is not None and time.monotonic() - last.at_s < last.took_s * _PATIENCE:
            # Comes up again at the next look, because the space is not counted as seen.
            self._disk.free_bytes = -1
            return
        home = await self._measure(environment.id, environment.paths)
        if home is None:
            return
        limit = environment.record.limits.storage_bytes
        is_over = home.reading.size_bytes > limit or home.reading.files > self._most_files
        if is_over and home.held_at is None:
            home.held_at = home.reading
            await self._hold_growth(environment, full=True)
            self._on_notice(environment.id, "Storage is full: nothing can be written until something is deleted.")
            # What was written until now was written in good faith, and its user has to get in to delete it.
            again = await self._measure(environment.id, environment.paths)
            if again is not None:
                again.held_at = again.reading
        elif is_over:
            await self._hold_growth(environment, full=True)
            if self._has_found_a_way(home, limit):
                await self._stop(environment.id, "Storage is far above its limit: the environment was stopped.")
        elif home.held_at is not None:
            home.held_at = None
            await self._hold_growth(environment, full=False)
            self._on_notice(environment.id, "There is storage again.")

    async def _hold_growth(self, environment: RunningEnvironment, *, full: bool) -> None:
        pids = await asyncio.to_thread(self._find, environment.id, environment.sandbox)
        limits = environment.record.limits
        await rlimits.set_growth(pids, environment.record.uid, limits.storage_bytes, full=full)

    def _has_found_a_way(self, home: _Home, limit: int) -> bool:
        """Tell whether a home that is far above its limit has grown since that was forbidden."""
        now, then = home.reading, home.held_at
        if then is None:
            return False
        is_far_above = now.size_bytes - limit > max(limit * _TOLERANCE, _TOLERANCE_BYTES)
        has_grown = now.size_bytes - then.size_bytes >= MOVED_BYTES
        return (is_far_above and has_grown) or (now.files > 2 * self._most_files and now.files > then.files)

    async def _measure(self, environment_id: EnvironmentId, paths: EnvironmentPaths) -> _Home | None:
        began = time.monotonic()
        try:
            reading = await storage.measure(paths.home)
        except TimeoutError:
            log.warning("local_storage_scan_too_slow", environment_id=environment_id)
            return None
        if reading is None:
            return None
        now = time.monotonic()
        last = self._homes.get(environment_id)
        grown = reading.size_bytes - last.reading.size_bytes if last else 0
        home = _Home(reading, now, now - began, grown, last.held_at if last else None)
        self._homes[environment_id] = home
        return home

    async def _free_disk(self, environments: list[RunningEnvironment]) -> None:
        """Stop the environment that most likely fills the disk that the server itself needs, if any grows."""
        known = [(home.grown_bytes, one.id) for one in environments if (home := self._homes.get(one.id))]
        grown, environment_id = max(known, default=(0, None))
        if environment_id is not None and grown > 0:
            await self._stop(environment_id, "The disk of this server is nearly full: the environment was stopped.")

    async def _stop(self, environment_id: EnvironmentId, reason: str) -> None:
        log.warning("local_environment_stopped_by_watch", environment_id=environment_id, reason=reason)
        self._on_notice(environment_id, reason)
        await self._watched.ensure_stopped(environment_id)
