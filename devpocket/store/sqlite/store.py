"""The SQLite store: the port over one :class:`~devpocket.store.sqlite.worker.Worker`."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from devpocket.clock import Clock
from devpocket.errors import UnavailableError
from devpocket.store.indexes import CollectionSpec
from devpocket.store.port import Lease, MetricsBucket, Store, StoreHealth, StoreInspection, Window
from devpocket.store.selection import checked_ids, checked_span
from devpocket.store.sqlite import atoms, reports
from devpocket.store.sqlite.collection import SqliteCollection
from devpocket.store.sqlite.file import open_file
from devpocket.store.sqlite.inspection import inspect_file
from devpocket.store.sqlite.schema import MIGRATIONS, Migration, index_differences, prepare
from devpocket.store.sqlite.worker import Worker

SWEEP_EVERY_S = 30.0

_log = logging.getLogger(__name__)


class SqliteStore(Store):
    """See :class:`devpocket.store.port.Store` for what each method gives and raises."""

    def __init__(self, path: Path, clock: Clock, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
        self._path = path
        self._clock = clock
        self._migrations = migrations
        self._worker = Worker(self._connect)
        self._sweeper: asyncio.Task[None] | None = None
        self._expiring: list[SqliteCollection] = []
        super().__init__(self._collection)

    async def start(self) -> None:
        """Open the file, take its lock, migrate, and start the sweeper.

        Leases of whoever had the file before are ended, so that nobody waits for a process that was killed.
        """
        await self._worker.start()
        now = self._clock.now()
        await self._worker.write(lambda db: atoms.end_leases(db, now))
        self._sweeper = asyncio.create_task(self._sweep_forever(), name="store-sweeper")

    async def close(self) -> None:
        """Stop the sweeper, finish what was accepted and close the file."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
            self._sweeper = None
        await self._worker.close()

    async def check(self) -> StoreHealth:
        """Time one round trip to the worker, which looks at the file."""
        began = time.perf_counter()
        await self._worker.read(lambda db: db.execute("SELECT count(*) FROM sqlite_master").fetchone())
        return StoreHealth("sqlite", sqlite3.sqlite_version, time.perf_counter() - began)

    async def inspect(self) -> StoreInspection:
        """Look at the file: as another program would, without its lock, unless this process has it open."""
        if self._sweeper is not None:
            return StoreInspection(await self.check(), await self._worker.read(index_differences))
        return await asyncio.to_thread(inspect_file, self._path, len(self._migrations))

    async def sweep(self) -> int:
        """Remove what has expired from the file now; return how many documents."""
        return sum([await collection.sweep() for collection in self._expiring])

    async def reserve(self, counter_id: str, member: str, limit: int) -> bool:
        """Take one of ``limit`` slots for ``member``; tell whether it holds one now."""
        now = self._clock.now()
        return await self._worker.write(lambda db: atoms.reserve(db, counter_id, member, limit, now))

    async def release(self, counter_id: str, member: str) -> bool:
        """Give the slot of ``member`` back; tell whether it held one."""
        now = self._clock.now()
        return await self._worker.write(lambda db: atoms.release(db, counter_id, member, now))

    async def reserved(self, counter_id: str) -> frozenset[str]:
        """Return the members that hold slots."""
        now = self._clock.now()
        return await self._worker.read(lambda db: atoms.reserved(db, counter_id, now))

    async def increment(self, key: str, *, ttl_s: float, amount: int = 1) -> int:
        """Add to a count within its window and return it."""
        now = self._clock.now()
        return await self._worker.write(lambda db: atoms.increment(db, key, amount, ttl_s, now))

    async def window(self, key: str) -> Window | None:
        """Return the count and when it ends, or ``None``."""
        now = self._clock.now()
        return await self._worker.read(lambda db: atoms.window(db, key, now))

    async def reset(self, key: str) -> bool:
        """End the window; tell whether there was one."""
        now = self._clock.now()
        return await self._worker.write(lambda db: atoms.reset(db, key, now))

    async def acquire_lease(self, lease_id: str, owner: str, ttl_s: float) -> Lease | None:
        """Return the lease if it was free, has run out or is ``owner``'s already; else ``None``."""
        now = self._clock.now()
        held_until = now + timedelta(seconds=ttl_s)
        return await self._worker.write(lambda db: atoms.acquire_lease(db, lease_id, owner, held_until, now))

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease | None:
        """Return the lease with a later end, or ``None`` when it is lost."""
        now = self._clock.now()
        held_until = now + timedelta(seconds=ttl_s)
        return await self._worker.write(lambda db: atoms.renew_lease(db, lease, held_until, now))

    async def release_lease(self, lease: Lease, *, unfinished: bool = False) -> bool:
        """Give the lease up; tell whether it was still one's own."""
        now = self._clock.now()
        return await self._worker.write(lambda db: atoms.release_lease(db, lease, now, unfinished=unfinished))

    async def forget_lease(self, lease: Lease) -> bool:
        """Remove the lease for good; tell whether it was still one's own."""
        now = self._clock.now()
        return await self._worker.write(lambda db: atoms.forget_lease(db, lease, now))

    async def live_leases(self, lease_ids: Sequence[str]) -> dict[str, Lease]:
        """Return those of the leases that somebody holds now, by id."""
        now, ids = self._clock.now(), checked_ids(lease_ids)
        return await self._worker.read(lambda db: atoms.live_leases(db, ids, now))

    async def expired_leases(self, limit: int = 100) -> list[Lease]:
        """Return leases that ran out without being released, oldest first."""
        now = self._clock.now()
        return await self._worker.read(lambda db: atoms.expired_leases(db, limit, now))

    async def metrics_history(
        self, environment_id: str, since: datetime, until: datetime, bucket_s: int
    ) -> list[MetricsBucket]:
        """Return the samples of a span in buckets, oldest first."""
        span, now = checked_span(since, until, bucket_s), self._clock.now()
        return await self._worker.read(lambda db: reports.metrics_history(db, environment_id, span, bucket_s, now))

    def _collection(self, spec: CollectionSpec) -> SqliteCollection:
        collection = SqliteCollection(spec, self._worker, self._clock)
        if spec.expires:
            self._expiring.append(collection)
        return collection

    def _connect(self) -> sqlite3.Connection:
        connection = open_file(self._path)
        try:
            prepare(connection, self._migrations)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self.sweep()
            except UnavailableError as error:
                _log.warning("expired documents stay until the next sweep: %s", error.detail)
            await asyncio.sleep(SWEEP_EVERY_S)
