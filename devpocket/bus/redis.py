"""The bus over Redis, for several server processes.

One session is one stretch of being connected. It consists of tasks that listen, send, and beat; whichever fails first
ends it, and the bus is degraded until the next one stands. Nobody waits for Redis in between: events reach this
process, buckets and places are counted here alone.

A beat is a message to oneself over the whole way, out by one connection and back in by the subscription. It proves
that the subscription lives before anybody is told that events are heard again, and it finds a Redis that accepts
everything and answers nothing.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import orjson
import redis.asyncio as aioredis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from devpocket.bus import scripts
from devpocket.bus.local import LocalBuckets, LocalPlaces, Subscribers, encode_event
from devpocket.bus.outbox import Outbox
from devpocket.bus.port import BucketRequest, BusHealth, Event, EventHandler, GapHandler, Subscription
from devpocket.domain.limits import Taken, check_amount
from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.ids import ProcessId
from devpocket.settings import Url

log = structlog.get_logger(__name__)

CONNECTIONS = 16
SEND_AT_ONCE = 64
MAX_BACKOFF_S = 5.0
BEAT_PATIENCE = 3
"""A beat may take so many times as long as a command: a busy machine is no reason to leave the others."""
_LOSSES = (RedisError, OSError, TimeoutError)
_Client: TypeAlias = "aioredis.Redis"


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
        self._beat_interval_s = beat_interval_s
        self._timeout_s = timeout_s
        self._subscribers = Subscribers()
        self._buckets = LocalBuckets(now)
        self._places = LocalPlaces()
        self._outbox = Outbox()
        self._degraded = True
        self._is_loss_told = False
        self._had_session = False
        self._joined = asyncio.Event()
        self._failed = asyncio.Event()
        self._beaten = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        try:
            self._client = _client(url, timeout_s, CONNECTIONS)
            self._listener = _client(url, None, 2)
        except (RedisError, ValueError) as error:
            raise ConfigurationError(f"REDIS_URL: {url.masked} is not understood: {error}") from error
        database = self._client.connection_pool.connection_kwargs.get("db") or 0
        # One hash tag, so that a script over several keys stays inside one slot of a Redis cluster. Channels know no
        # databases, hence the number in the name.
        self._prefix = "{devpocket}"
        self._channel = f"{self._prefix}:events:{database}"
        self._own_channel = f"{self._channel}:{process_id}"
        self._take = self._client.register_script(scripts.TAKE)
        self._hold = self._client.register_script(scripts.HOLD)
        self._keep = self._client.register_script(scripts.KEEP)

    # --- life --------------------------------------------------------------------------------------------------------

    @property
    def degraded(self) -> bool:
        """True while Redis cannot be used."""
        return self._degraded

    async def start(self) -> None:
        """Connect in the background; returns once connected or after ``timeout_s``, whichever is first."""
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run(), name="redis bus")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await self._joined.wait()

    async def close(self) -> None:
        """Send what waits, give up places, end the tasks; bounded by ``timeout_s`` each."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])
            if not self._degraded:
                with contextlib.suppress(*_LOSSES):
                    await self._say_goodbye()
        self._degraded = True
        self._subscribers.clear()
        self._places.clear()
        await self._client.aclose()
        await self._listener.aclose()

    async def _say_goodbye(self) -> None:
        async with self._client.pipeline(transaction=False) as pipeline:
            for encoded in self._outbox.waiting():
                pipeline.publish(self._channel, encoded)
            for key in self._places.held():
                pipeline.zrem(self._place_key(key), *self._places.members(key))
            await pipeline.execute()

    async def check(self) -> BusHealth:
        """Ask Redis for its version."""
        began_s = time.perf_counter()
        try:
            facts = await self._client.info("server")
        except _LOSSES as error:
            raise UnavailableError("Redis does not answer.", code="bus_unavailable", detail=repr(error)) from error
        latency_s = time.perf_counter() - began_s
        return BusHealth("redis", str(facts["redis_version"]), latency_s, degraded=self._degraded)

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
        if self._degraded or not requests:
            return self._buckets.take(requests)
        keys = [f"{self._prefix}:bucket:{request.key}" for request in requests]
        numbers: list[str | float] = [
            number for r in requests for number in (r.rule.capacity, r.rule.refill_per_s, r.amount)
        ]
        try:
            outcomes = await self._take(keys=keys, args=numbers)
        except _LOSSES as error:
            self._lose(error)
            return self._buckets.take(requests)
        return [_taken(request, *outcome) for request, outcome in zip(requests, outcomes, strict=True)]

    async def hold(self, key: str, member: str, limit: int) -> bool:
        """Count over all processes; over this one while Redis is gone."""
        if self._degraded:
            return self._places.hold(key, member, limit)
        arguments: list[str | float] = [member, limit, int(self._place_ttl_s * 1000)]
        try:
            is_held = bool(await self._hold(keys=[self._place_key(key)], args=arguments))
        except _LOSSES as error:
            self._lose(error)
            return self._places.hold(key, member, limit)
        return is_held and self._places.hold(key, member)

    async def drop(self, key: str, member: str) -> None:
        """Give the place back here at once, and in Redis now or by its expiry."""
        if not self._places.drop(key, member) or self._degraded:
            return
        try:
            await self._client.zrem(self._place_key(key), member)
        except _LOSSES as error:
            self._lose(error)

    def _place_key(self, key: str) -> str:
        return f"{self._prefix}:places:{key}"

    # --- the session -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Keep a session up for ever, with growing, jittered pauses between attempts that fail."""
        pause_s = 0.1
        while True:
            began_s = time.monotonic()
            try:
                await self._session()
            except* _LOSSES as losses:
                self._lose(losses.exceptions[0])
            except* Exception as defects:
                log.exception("bus.session_failed")
                self._lose(defects.exceptions[0])
            if time.monotonic() - began_s > MAX_BACKOFF_S:
                pause_s = 0.1
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - spreads reconnects, guards nothing
            pause_s = min(pause_s * 2, MAX_BACKOFF_S)

    async def _session(self) -> None:
        self._failed.clear()
        self._beaten.clear()
        async with self._listener.pubsub(ignore_subscribe_messages=True) as subscription, asyncio.TaskGroup() as tasks:
            async with asyncio.timeout(self._timeout_s):
                await subscription.subscribe(self._channel, self._own_channel)
            tasks.create_task(self._listen(subscription), name="redis bus: listen")
            await self._beat()
            await self._keep_places()
            self._join()
            tasks.create_task(self._send(), name="redis bus: send")
            tasks.create_task(self._beats(), name="redis bus: beat")
            tasks.create_task(self._watch_failure(), name="redis bus: failures")

    def _join(self) -> None:
        """The way is proved: count together, and have everybody catch up with what was not heard."""
        self._degraded = self._is_loss_told = False
        self._joined.set()
        if self._had_session:
            log.info("bus.recovered", waiting_events=len(self._outbox))
            self._subscribers.tell_gap()
        self._had_session = True

    def _lose(self, error: BaseException) -> None:
        """Go on alone, and end the session if there is one."""
        if not self._is_loss_told:
            log.warning("bus.degraded", reason=f"{type(error).__name__}: {error}")
        self._degraded = self._is_loss_told = True
        self._joined.clear()
        self._failed.set()

    async def _watch_failure(self) -> None:
        await self._failed.wait()
        raise ConnectionError("a command failed")

    async def _listen(self, subscription: Any) -> None:
        while True:
            message = await subscription.get_message(timeout=None)
            if message is None:
                continue
            if _text(message["channel"]) == self._own_channel:
                self._beaten.set()
            else:
                self._receive(message["data"])

    def _receive(self, encoded: bytes) -> None:
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

    async def _send(self) -> None:
        """Publish what waits, many at once; an event leaves the outbox only when Redis has it."""
        while True:
            events = await self._outbox.first(SEND_AT_ONCE)
            async with self._client.pipeline(transaction=False) as pipeline:
                for encoded in events:
                    pipeline.publish(self._channel, encoded)
                if self._outbox.overflowed:
                    pipeline.publish(self._channel, encode_event(_GAP, {}, origin=self._process_id))
                    self._outbox.overflowed = False
                await pipeline.execute()
            self._outbox.remove(events)

    async def _beats(self) -> None:
        kept_s = time.monotonic()
        while True:
            await asyncio.sleep(self._beat_interval_s)
            await self._beat()
            if time.monotonic() - kept_s > self._place_ttl_s / 3:
                await self._keep_places()
                kept_s = time.monotonic()

    async def _beat(self) -> None:
        self._beaten.clear()
        async with asyncio.timeout(BEAT_PATIENCE * self._timeout_s):
            await self._client.publish(self._own_channel, b"")
            await self._beaten.wait()

    async def _keep_places(self) -> None:
        """Renew every place of this process; after a loss this also puts those back that Redis has forgotten."""
        ttl_ms = int(self._place_ttl_s * 1000)
        for key in self._places.held():
            if members := self._places.members(key):  # read late: what was dropped meanwhile must not come back
                await self._keep(keys=[self._place_key(key)], args=[ttl_ms, *members])


_GAP = "gap"
"""Sent to the others when events were dropped here because too many waited."""


def _client(url: Url, timeout_s: float | None, connections: int) -> _Client:
    """Return a client that gives up soon; only a connection that Redis closed meanwhile is tried a second time."""
    pool = aioredis.BlockingConnectionPool.from_url(
        str(url),
        max_connections=connections,
        timeout=timeout_s or 1.0,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s or 1.0,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 1 if timeout_s else 0, supported_errors=(aioredis.ConnectionError,)),
    )
    return aioredis.Redis.from_pool(pool)


def _taken(request: BucketRequest, allowed: int, tokens: bytes | str) -> Taken:
    rule, left = request.rule, float(tokens)
    missing = 0.0 if allowed else max(0.0, request.amount - left)
    return Taken(bool(allowed), left, missing / rule.refill_per_s, (rule.capacity - left) / rule.refill_per_s)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
