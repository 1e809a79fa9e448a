"""The bus of a single process."""

import time
from collections.abc import Callable, Sequence

from devpocket.bus.local import LocalBuckets, LocalPlaces, Subscribers, encode_event
from devpocket.bus.port import BucketRequest, BusHealth, Event, EventHandler, GapHandler, Subscription
from devpocket.domain.limits import Taken


class MemoryBus:
    """Events, buckets and places inside this process. Never degraded, because there is nobody else."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._subscribers = Subscribers()
        self._buckets = LocalBuckets(now)
        self._places = LocalPlaces()

    @property
    def degraded(self) -> bool:
        """Always False."""
        return False

    async def start(self) -> None:
        """There is nothing to connect to."""

    async def close(self) -> None:
        """Forget subscribers and places."""
        self._subscribers.clear()
        self._places.clear()

    async def check(self) -> BusHealth:
        """Always healthy."""
        return BusHealth("memory", version="", latency_s=0.0, degraded=False)

    async def publish(self, topic: str, event: Event) -> None:
        """Call the subscribers; the same events are refused as on a bus with a network."""
        encode_event(topic, event)
        self._subscribers.deliver(topic, event)

    def subscribe(self, handler: EventHandler, on_gap: GapHandler | None = None) -> Subscription:
        """Events are never lost here, so ``on_gap`` is never called."""
        return self._subscribers.add(handler, on_gap)

    async def take(self, requests: Sequence[BucketRequest]) -> list[Taken]:
        """Serve each request by itself."""
        return self._buckets.take(requests)

    async def hold(self, key: str, member: str, limit: int) -> bool:
        """Hold a place in this process."""
        return self._places.hold(key, member, limit)

    async def drop(self, key: str, member: str) -> None:
        """Give it back."""
        self._places.drop(key, member)
