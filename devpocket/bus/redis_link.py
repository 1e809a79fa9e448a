"""Being connected to Redis, and knowing it.

A link lives in sessions. One session is one stretch of being connected; its tasks listen, beat, and do the owner's
work, and whichever fails first ends it. In between the link is down, and nobody waits for it.

A beat is a message to oneself over the whole way, out by one connection and back in by the subscription. It proves
that the subscription lives before anybody is told that messages are heard again, and it finds a Redis that accepts
everything and answers nothing.
"""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import redis.asyncio as aioredis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from devpocket.errors import ConfigurationError
from devpocket.settings import Url

log = structlog.get_logger(__name__)

Client: TypeAlias = "aioredis.Redis"
LOSSES = (RedisError, OSError, TimeoutError)
"""What a command raises when Redis cannot be used."""
COMMAND_CONNECTIONS = 16
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0
BEAT_PATIENCE = 3
"""A beat may take so many times as long as a command: a busy machine is no reason to leave the others."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Where messages are heard: those for all, and those to oneself."""

    shared: str
    own: str


class LinkOwner(Protocol):
    """Whose link it is."""

    def receive(self, encoded: bytes) -> None:
        """A message for all has arrived, possibly one's own."""
        ...

    async def prepare(self) -> None:
        """Redis answers; make it know what it must before the link counts as up."""
        ...

    def joined(self, *, again: bool) -> None:
        """The link is up; ``again``: messages may have been lost since it was up before."""
        ...

    async def work(self) -> None:
        """What runs while the link is up; ends by being cancelled, or by raising one of ``LOSSES``."""
        ...


class RedisLink:
    """Keeps a subscription alive for ever, in a task of its own."""

    def __init__(self, url: Url, owner: LinkOwner, *, beat_interval_s: float, timeout_s: float) -> None:
        """Raises ConfigurationError for a URL that the client does not understand."""
        self._owner = owner
        self._beat_interval_s = beat_interval_s
        self._timeout_s = timeout_s
        try:
            self.client = _client(url, timeout_s, COMMAND_CONNECTIONS)
            self._listener = _client(url, None, 2)
        except (RedisError, ValueError) as error:
            raise ConfigurationError(f"REDIS_URL: {url.masked} is not understood: {error}") from error
        self._channels = Channels("", "")
        self._up = asyncio.Event()
        self._failed = asyncio.Event()
        self._beaten = asyncio.Event()
        self._is_loss_told = False
        self._was_up = False
        self._runner: asyncio.Task[None] | None = None

    @property
    def database(self) -> int:
        """The number of the database that the URL names."""
        return int(self.client.connection_pool.connection_kwargs.get("db") or 0)

    @property
    def is_up(self) -> bool:
        """True while Redis can be used and the subscription lives."""
        return self._up.is_set()

    async def start(self, channels: Channels) -> None:
        """Connect in the background; returns once up or after the timeout, whichever is first."""
        if self._runner is None:
            self._channels = channels
            self._runner = asyncio.get_running_loop().create_task(self._run(), name="redis bus")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await self._up.wait()

    async def stop(self) -> bool:
        """End the tasks; returns whether commands still make sense. Follow it with :meth:`close`."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])
        was_up = self.is_up
        self._up.clear()
        return was_up

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()
        await self._listener.aclose()

    def lose(self, error: BaseException) -> None:
        """A command failed: the link is down at once, and its session ends."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not self._is_loss_told:
            log.warning("bus.degraded", reason=f"{type(error).__name__}: {error}")
        self._is_loss_told = True
        self._up.clear()
        self._failed.set()

    async def _run(self) -> None:
        """Keep a session up, with growing, jittered pauses between attempts that fail."""
        pause_s = FIRST_PAUSE_S
        while True:
            began_s = time.monotonic()
            try:
                await self._session()
            except* LOSSES as losses:
                self.lose(losses.exceptions[0])
            except* Exception as defects:
                log.exception("bus.session_failed")
                self.lose(defects.exceptions[0])
            if time.monotonic() - began_s > LAST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - spreads reconnects, guards nothing
            pause_s = min(pause_s * 2, LAST_PAUSE_S)

    async def _session(self) -> None:
        self._failed.clear()
        async with self._listener.pubsub(ignore_subscribe_messages=True) as subscription, asyncio.TaskGroup() as tasks:
            async with asyncio.timeout(self._timeout_s):
                await subscription.subscribe(self._channels.shared, self._channels.own)
            tasks.create_task(self._listen(subscription), name="redis bus: listen")
            await self._beat()
            await self._owner.prepare()
            self._join()
            tasks.create_task(self._owner.work(), name="redis bus: work")
            tasks.create_task(self._beats(), name="redis bus: beat")
            tasks.create_task(self._watch_failure(), name="redis bus: failures")

    def _join(self) -> None:
        self._up.set()
        if self._was_up:
            log.info("bus.recovered")
        again, self._was_up, self._is_loss_told = self._was_up, True, False
        self._owner.joined(again=again)

    async def _watch_failure(self) -> None:
        await self._failed.wait()
        raise ConnectionError("a command failed")

    async def _listen(self, subscription: Any) -> None:
        own = self._channels.own.encode()
        while True:
            message = await subscription.get_message(timeout=None)
            if message is None:
                continue
            if message["channel"] == own:
                self._beaten.set()
            else:
                self._owner.receive(message["data"])

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(self._beat_interval_s)
            await self._beat()

    async def _beat(self) -> None:
        self._beaten.clear()
        async with asyncio.timeout(BEAT_PATIENCE * self._timeout_s):
            await self.client.publish(self._channels.own, b"")
            await self._beaten.wait()


def _client(url: Url, timeout_s: float | None, connections: int) -> Client:
    """Return a client that gives up soon; only a connection that Redis closed meanwhile is tried a second time.

    Without ``timeout_s`` it is one that may listen for ever, and does not reconnect by itself: that would hide a loss.
    """
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
