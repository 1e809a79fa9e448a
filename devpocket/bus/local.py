"""What one process keeps by itself: subscribers, buckets, places. The memory bus is made of it, and every other bus
falls back on it while it is cut off."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import orjson
import structlog

from devpocket.bus.port import MAX_EVENT_BYTES, BucketRequest, Event, EventHandler, GapHandler
from devpocket.domain.limits import BucketRule, Taken, TokenBucket, take

log = structlog.get_logger(__name__)

MAX_BUCKETS = 100_000
"""About 30 MB. Beyond it the bucket that was used longest ago is forgotten, which makes it full."""


class Subscribers:
    """The subscribers of this process."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def add(self, handler: EventHandler, on_gap: GapHandler | None) -> "_Entry":
        """Return a new subscription."""
        entry = _Entry(self._entries, handler, on_gap)
        self._entries.append(entry)
        return entry

    def deliver(self, topic: str, event: Event) -> None:
        """Call every handler; what one raises is logged."""
        for entry in tuple(self._entries):
            try:
                entry.handler(topic, event)
            except Exception:
                log.exception("bus.handler_failed", topic=topic)

    def tell_gap(self) -> None:
        """Tell everybody that events may have been lost."""
        for entry in tuple(self._entries):
            if entry.on_gap is None:
                continue
            try:
                entry.on_gap()
            except Exception:
                log.exception("bus.gap_handler_failed")

    def clear(self) -> None:
        """Forget everybody."""
        self._entries.clear()


class _Entry:
    """One subscription; closing it takes it out of the list."""

    __slots__ = ("_entries", "handler", "on_gap")

    def __init__(self, entries: "list[_Entry]", handler: EventHandler, on_gap: GapHandler | None) -> None:
        self._entries = entries
        self.handler = handler
        self.on_gap = on_gap

    def close(self) -> None:
        """Get no more events."""
        if self in self._entries:
            self._entries.remove(self)


class LocalBuckets:
    """Token buckets of this process, bounded in number; ``now`` gives seconds that never jump back."""

    def __init__(self, now: Callable[[], float], limit: int = MAX_BUCKETS) -> None:
        self._now = now
        self._limit = limit
        self._buckets: OrderedDict[str, tuple[BucketRule, TokenBucket]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, requests: Sequence[BucketRequest]) -> list[Taken]:
        """Serve each request by itself."""
        now_s = self._now()
        outcomes = [self._take(request, now_s) for request in requests]
        self._forget(now_s)
        return outcomes

    def _take(self, request: BucketRequest, now_s: float) -> Taken:
        _, bucket = self._buckets.get(request.key, (None, None))
        bucket, taken = take(request.rule, bucket, now_s, request.amount)
        self._buckets[request.key] = (request.rule, bucket)
        self._buckets.move_to_end(request.key)
        return taken

    def _forget(self, now_s: float) -> None:
        """Drop the oldest while they are full again or too many; a few per call keeps the cost even."""
        for _ in range(8):
            if not self._buckets:
                return
            key, (rule, bucket) = next(iter(self._buckets.items()))
            if len(self._buckets) <= self._limit and now_s - bucket.at_s < rule.fill_time_s:
                return
            del self._buckets[key]


class LocalPlaces:
    """The places that this process holds."""

    def __init__(self) -> None:
        self._held: dict[str, set[str]] = {}

    def hold(self, key: str, member: str, limit: float = math.inf) -> bool:
        """Hold a place unless ``limit`` are held in this process."""
        members = self._held.get(key, set())
        if member not in members and len(members) >= limit:
            return False
        self._held.setdefault(key, members).add(member)
        return True

    def drop(self, key: str, member: str) -> bool:
        """Give a place back; False when it was not held."""
        members = self._held.get(key, set())
        if member not in members:
            return False
        members.remove(member)
        if not members:
            del self._held[key]
        return True

    def held(self) -> list[str]:
        """Return the keys of which places are held."""
        return list(self._held)

    def members(self, key: str) -> list[str]:
        """Return who holds places of ``key`` now."""
        return list(self._held.get(key, ()))

    def clear(self) -> None:
        """Give everything back."""
        self._held.clear()


def encode_event(topic: str, event: Event, **extra: str) -> bytes:
    """Return the bytes that travel; ``TypeError`` for what is not JSON, ``ValueError`` for too much of it."""
    encoded = orjson.dumps({"topic": topic, "event": event, **extra})
    if len(encoded) > MAX_EVENT_BYTES:
        raise ValueError(f"an event of {len(encoded)} bytes is above {MAX_EVENT_BYTES}; events are hints")
    return encoded
