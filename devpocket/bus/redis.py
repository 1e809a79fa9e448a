"""The bus over Redis, for several server processes.

While the link to Redis is down the bus is degraded, and nobody waits: events reach this process, buckets and places are
counted here alone.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import orjson
import structlog

from devpocket.bus import scripts
from devpocket.bus.local import LocalBuckets, LocalPlaces, Subscribers, encode_event
from devpocket.bus.outbox import Outbox
from devpocket.bus.port import BucketRequest, BusHealth, Event, EventHandler, GapHandler, Subscription
from devpocket.bus.redis_link import LOSSES, Channels, RedisLink
from devpocket.domain.limits import Taken, check_amount
from devpocket.errors import UnavailableError
from devpocket.ids import ProcessId
from devpocket.settings import Url

log = structlog.get_logger(__name__)

SEND_AT_ONCE = 64
_PREFIX = "{devpocket}"
"""One hash tag, so that a script over several keys stays inside one slot of a Redis cluster."""
_GAP = "gap"
"""Sent to the others when events were dropped here because too many waited."""


class RedisBus:
    """Events, buckets and places shared by all processes that use the same Redis database."""

    def __init__(
        self,
        url: Url,
        process_id: ProcessId,
        *,
        place_ttl_s: float = 30.0,
        beat_interval_s: float = 1.0,
        timeout_s: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``timeout_s`` bounds every single command; a process that died gives its places up in ``place_ttl_s``.

        Raises ConfigurationError for a URL that the client does not understand.
        """
        self._process_id = process_id
        self._place_ttl_s = place_ttl_s
        self._subscribers = Subscribers()
        self._buckets = LocalBuckets(now)
        self._places = LocalPlaces()
        self._outbox = Outbox()
        self._link = RedisLink(url, self, beat_interval_s=beat_interval_s, timeout_s=timeout_s)
        shared = f"{_PREFIX}:events:{self._link.database}"  # channels know no databases, hence the number
        self._channels = Channels(shared, f"{shared}:{process_id}")
        self._client = self._link.client
        self._take = self._client.register_script(scripts.TAKE)
        self._hold = self._client.register_script(scripts.HOLD)
        self._keep = self._client.register_script(scripts.KEEP)

    @property
    def degraded(self) -> bool:
        """True while Redis cannot be used."""
        return not self._link.is_up

    async def start(self) -> None:
        """Connect in the background; returns once connected or after ``timeout_s``, whichever is first."""
        await self._link.start(self._channels)

    async def close(self) -> None:
        """Send what waits, give up places, end the tasks; takes a few times ``timeout_s`` at most."""
        if await self._link.stop():
            with contextlib.suppress(*LOSSES):
                await self._link.ask(self._say_goodbye())
        self._subscribers.clear()
        self._places.clear()
        await self._link.close()

    async def check(self) -> BusHealth:
        """Ask Redis for its version."""
        began_s = time.perf_counter()
        try:
            facts = await self._link.ask(self._client.info("server"))
        except LOSSES as error:
            raise UnavailableError("Redis does not answer.", code="bus_unavailable", detail=repr(error)) from error
        latency_s = time.perf_counter() - began_s
        return BusHealth("redis", str(facts["redis_version"]), latency_s, degraded=self.degraded)

    # --- events ------------------------------------------------------------------------------------------------------

    async def publish(self, topic: str, event: Event) -> None:
        """Tell this process now, and the others as soon as Redis takes it."""
        encoded = encode_event(topic, event, origin=self._process_id)
        self._outbox.put(encoded)
        self._subscribers.deliver(topic, event)

    def subscribe(self, handler: EventHandler, on_gap: GapHandler | None = None) -> Subscription:
        """``on_gap`` is called each time the connection has been lost and found again."""
        return self._subscribers.add(handler, on_gap)

    # --- buckets and places ------------------------------------------------------------------------------------------

    async def take(self, requests: Sequence[BucketRequest]) -> list[Taken]:
        """One script for all buckets; by this process's own buckets while Redis is gone."""
        for request in requests:
            check_amount(request.rule, request.amount)
        if self.degraded or not requests:
            return self._buckets.take(requests)
        keys = [f"{_PREFIX}:bucket:{request.key}" for request in requests]
        numbers: list[str | float] = [n for r in requests for n in (r.rule.capacity, r.rule.refill_per_s, r.amount)]
        try:
            outcomes = await self._link.ask(self._take(keys=keys, args=numbers))
        except LOSSES as error:
            self._link.lose(error)
            return self._buckets.take(requests)
        return [_taken(request, *outcome) for request, outcome in zip(requests, outcomes, strict=True)]

    async def hold(self, key: str, member: str, limit: int) -> bool:
        """Count over all processes; over this one while Redis is gone."""
        if self.degraded:
            return self._places.hold(key, member, limit)
        arguments: list[str | float] = [member, limit, self._place_ttl_ms]
        try:
            is_held = bool(await self._link.ask(self._hold(keys=[_place_key(key)], args=arguments)))
        except LOSSES as error:
            self._link.lose(error)
            return self._places.hold(key, member, limit)
        return is_held and self._places.hold(key, member)

    async def drop(self, key: str, member: str) -> None:
        """Give the place back here at once, and in Redis now or by its expiry."""
        if not self._places.drop(key, member) or self.degraded:
            return
        try:
            await self._link.ask(self._client.zrem(_place_key(key), member))
        except LOSSES as error:
            self._link.lose(error)

    @property
    def _place_ttl_ms(self) -> int:
        return int(self._place_ttl_s * 1000)

    # --- what the link asks for --------------------------------------------------------------------------------------

    def receive(self, encoded: bytes) -> None:
        """Deliver what another process published; what is not ours on this channel is dropped."""
        try:
            letter = orjson.loads(encoded)
            origin, topic, event = letter["origin"], letter["topic"], letter["event"]
        except (ValueError, KeyError, TypeError):
            log.warning("bus.foreign_message", length_bytes=len(encoded))
            return
        if origin == self._process_id:
            return
        if topic == _GAP:
            self._subscribers.tell_gap()
        else:
            self._subscribers.deliver(topic, event)

    async def prepare(self) -> None:
        """See that scripts may write; put the places of this process into Redis, which may have come back empty."""
        await self._link.ask(self._take(keys=[f"{_PREFIX}:bucket:probe:{self._process_id}"], args=[1, 1, 1]))
        await self._renew_places()

    async def _renew_places(self) -> None:
        for key in self._places.held():
            if members := self._places.members(key):  # read late: what was dropped meanwhile must not come back
                await self._link.ask(self._keep(keys=[_place_key(key)], args=[self._place_ttl_ms, *members]))

    def joined(self, *, again: bool) -> None:
        """Have everybody catch up with what was not heard."""
        if again:
            self._subscribers.tell_gap()

    def chores(self) -> Mapping[str, Coroutine[Any, Any, None]]:
        """Send events and renew places."""
        return {"send": self._send(), "places": self._keep_places()}

    async def _send(self) -> None:
        """Publish what waits, many at once; an event leaves the outbox only when Redis has it."""
        while True:
            events = await self._outbox.first(SEND_AT_ONCE)
            async with self._client.pipeline(transaction=False) as pipeline:
                for encoded in events:
                    pipeline.publish(self._channels.shared, encoded)
                if self._outbox.overflowed:
                    pipeline.publish(self._channels.shared, encode_event(_GAP, {}, origin=self._process_id))
                    self._outbox.overflowed = False
                await self._link.ask(pipeline.execute())
            self._outbox.remove(events)

    async def _keep_places(self) -> None:
        while True:
            await asyncio.sleep(self._place_ttl_s / 3)
            await self._renew_places()

    async def _say_goodbye(self) -> None:
        async with self._client.pipeline(transaction=False) as pipeline:
            for encoded in self._outbox.waiting():
                pipeline.publish(self._channels.shared, encoded)
            for key in self._places.held():
                pipeline.zrem(_place_key(key), *self._places.members(key))
            await pipeline.execute()


def _place_key(key: str) -> str:
    return f"{_PREFIX}:places:{key}"


def _taken(request: BucketRequest, allowed: int, tokens: bytes) -> Taken:
    rule, left = request.rule, float(tokens)
    missing = 0.0 if allowed else max(0.0, request.amount - left)
    return Taken(bool(allowed), left, missing / rule.refill_per_s, (rule.capacity - left) / rule.refill_per_s)
