"""The MongoDB store: the port over one :class:`~devpocket.store.mongo.link.Link`."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from devpocket.clock import Clock
from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.store.indexes import METRIC_AVERAGES, METRIC_COUNTERS
from devpocket.store.mongo.collection import MongoCollection
from devpocket.store.mongo.counters import Counters
from devpocket.store.mongo.leases import Leases
from devpocket.store.mongo.link import Link
from devpocket.store.mongo.schema import ensure_indexes, index_differences, is_empty
from devpocket.store.port import Document, Lease, MetricsBucket, Store, StoreHealth, StoreInspection, Window
from devpocket.store.selection import checked_ids, checked_span


class MongoStore(Store):
    """See :class:`devpocket.store.port.Store` for what each method gives and raises."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._link = Link(url)
        self._clock = clock
        self._counters = Counters(self._link)
        self._leases = Leases(self._link)
        super().__init__(lambda spec: MongoCollection(spec, self._link, clock))

    async def start(self) -> None:
        """Wait for an answer and make the indexes that are missing."""
        try:
            await ensure_indexes(self._link)
        except UnavailableError as error:
            raise ConfigurationError(f"{error.public} {error.detail}") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._link.close()

    async def check(self) -> StoreHealth:
        """Time one round trip."""
        began = time.perf_counter()
        version = await self._link.server_version()
        return StoreHealth("mongodb", version, time.perf_counter() - began)

    async def inspect(self) -> StoreInspection:
        """Compare the indexes."""
        health = await self.check()
        if await is_empty(self._link):
            return StoreInspection(health, notes=("is empty; the first start makes collections and indexes",))
        return StoreInspection(health, await index_differences(self._link))

    async def reserve(self, counter_id: str, member: str, limit: int) -> bool:
        """Take one of ``limit`` slots for ``member``; tell whether it holds one now."""
        return await self._counters.reserve(counter_id, member, limit, self._clock.now())

    async def release(self, counter_id: str, member: str) -> bool:
        """Give the slot of ``member`` back; tell whether it held one."""
        return await self._counters.release(counter_id, member)

    async def reserved(self, counter_id: str) -> frozenset[str]:
        """Return the members that hold slots."""
        return await self._counters.reserved(counter_id)

    async def increment(self, key: str, *, ttl_s: float, amount: int = 1) -> int:
        """Add to a count within its window and return it."""
        return await self._counters.increment(key, amount, ttl_s, self._clock.now())

    async def window(self, key: str) -> Window | None:
        """Return the count and when it ends, or ``None``."""
        return await self._counters.window(key, self._clock.now())

    async def reset(self, key: str) -> bool:
        """End the window; tell whether there was one."""
        return await self._counters.reset(key, self._clock.now())

    async def acquire_lease(self, lease_id: str, owner: str, ttl_s: float) -> Lease | None:
        """Return the lease if it was free, has run out or is ``owner``'s already; else ``None``."""
        now = self._clock.now()
        return await self._leases.acquire(lease_id, owner, now + timedelta(seconds=ttl_s), now)

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease | None:
        """Return the lease with a later end, or ``None`` when it is lost."""
        now = self._clock.now()
        return await self._leases.renew(lease, now + timedelta(seconds=ttl_s), now)

    async def release_lease(self, lease: Lease, *, unfinished: bool = False) -> bool:
        """Give the lease up; tell whether it was still one's own."""
        return await self._leases.release(lease, unfinished=unfinished)

    async def forget_lease(self, lease: Lease) -> bool:
        """Remove the lease for good; tell whether it was still one's own."""
        return await self._leases.forget(lease)

    async def live_leases(self, lease_ids: Sequence[str]) -> dict[str, Lease]:
        """Return those of the leases that somebody holds now, by id."""
        return await self._leases.live(checked_ids(lease_ids), self._clock.now())

    async def expired_leases(self, limit: int = 100) -> list[Lease]:
        """Return leases that ran out without being released, oldest first."""
        return list(await self._leases.expired(limit, self._clock.now()))

    async def metrics_history(
        self, environment_id: str, since: datetime, until: datetime, bucket_s: int
    ) -> list[MetricsBucket]:
        """Return the samples of a span in buckets, oldest first."""
        since, until = checked_span(since, until, bucket_s)
        condition = {
            "environment_id": environment_id,
            "at": {"$gte": since, "$lt": until},
            "expires_at": {"$not": {"$lte": self._clock.now()}},
        }
        pipeline = [{"$match": condition}, {"$group": _grouped(bucket_s * 1000)}, {"$sort": {"_id": 1}}]

        async def aggregate(_: bool) -> list[Document]:
            async with await self._link.database["metrics"].aggregate(pipeline) as cursor:
                return [group async for group in cursor]

        return [_bucket(group) for group in await self._link.call(aggregate)]


def _grouped(bucket_ms: int) -> dict[str, Any]:
    at_ms = {"$toLong": "$at"}
    averages = {field: {"$avg": f"${field}"} for field in METRIC_AVERAGES}
    counters = {field: {"$max": f"${field}"} for field in METRIC_COUNTERS}
    span = {"$subtract": [at_ms, {"$mod": [at_ms, bucket_ms]}]}
    return {"_id": span, "samples": {"$sum": 1}, **averages, **counters}


def _bucket(group: Document) -> MetricsBucket:
    return MetricsBucket(
        at=datetime.fromtimestamp(group["_id"] / 1000, UTC),
        samples=group["samples"],
        **{field: group[field] for field in (*METRIC_AVERAGES, *METRIC_COUNTERS)},
    )
