"""Being connected to Redis, and knowing it.

A link lives in sessions. One session is one stretch of being connected; its tasks listen, beat, and do the owner's
work, and whichever fails first ends it. In between the link is down, and nobody waits for it.

Nothing here hangs on a single cancel, because Python 3.11 loses some: ``asyncio.wait_for``, by which redis-py would
bound its writes, when a cancel comes as the write ends (python/cpython#86296), and ``asyncio.TaskGroup`` when a task
fails meanwhile (python/cpython#116720). So commands are bounded by :meth:`RedisLink.ask`, the runner is told to stop by
an event, and a session cancels its tasks until they have ended.

A beat is a message to oneself over the whole way, out by one connection and back in by the subscription. It proves
that the subscription lives before anybody is told that messages are heard again, and it finds a Redis that accepts
everything and answers nothing.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import redis.asyncio as aioredis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from devpocket.errors import ConfigurationError
from devpocket.settings import Url

log = structlog.get_logger(__name__)

T = TypeVar("T")
Client: TypeAlias = "aioredis.Redis"
LOSSES = (RedisError, OSError, TimeoutError)
"""What a command raises when Redis cannot be used."""
COMMAND_CONNECTIONS = 16
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0
CANCEL_AGAIN_S = 0.05
BEAT_PATIENCE = 3
"""A beat may take so many times as long as a command: a busy machine is no reason to leave the others."""
STOP_PATIENCE = 3
"""A stop may take so many times as long as a command; it takes milliseconds unless something is wrong."""


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

    def chores(self) -> Mapping[str, Coroutine[Any, Any, None]]:
        """What runs while the link is up, by name; each ends by being cancelled, or by raising one of ``LOSSES``."""
        ...


class RedisLink:
    """Keeps a subscription alive for ever, in a task of its own."""

    def __init__(self, url: Url, owner: LinkOwner, *, beat_interval_s: float, timeout_s: float) -> None:
        """Raises ConfigurationError for a URL that the client does not understand."""
        self._owner = owner
        self._beat_interval_s = beat_interval_s
        self._timeout_s = timeout_s
        try:
            self.client = _client(url, timeout_s, COMMAND_CONNECTIONS, attempts=2)
            self._listener = _client(url, timeout_s, 2, attempts=1)
        except (RedisError, ValueError) as error:
            raise ConfigurationError(f"REDIS_URL: {url.masked} is not understood: {error}") from error
        self._channels = Channels("", "")
        self._up = asyncio.Event()
        self._over = asyncio.Event()
        self._stopping = asyncio.Event()
        self._beaten = asyncio.Event()
        self._is_loss_told = False
        self._was_up = False
        self._runner: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

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
        """End the tasks; returns whether commands still make sense. Follow it with :meth:`close`. Always ends soon."""
        runner, self._runner = self._runner, None
        was_up = self.is_up
        self._stopping.set()
        self._over.set()
        if runner is not None:
            _, late = await asyncio.wait([runner], timeout=STOP_PATIENCE * self._timeout_s)
            if late:
                log.error("bus.stop_cut_off", tasks=sorted(task.get_name() for task in self._tasks))
        self._up.clear()
        return was_up

    async def close(self) -> None:
        """Close all connections; one that does not close in time is let go."""
        for pool in (self.client.connection_pool, self._listener.connection_pool):
            with contextlib.suppress(*LOSSES):
                await pool.disconnect()

    async def ask(self, command: Awaitable[T]) -> T:
        """Return the answer to a command; raises one of ``LOSSES``, ``TimeoutError`` when it takes too long."""
        async with asyncio.timeout(self._timeout_s):
            return await command

    def lose(self, error: BaseException) -> None:
        """A command failed: the link is down at once, and its session ends."""
        if not self._is_loss_told:
            log.warning("bus.degraded", reason=f"{type(error).__name__}: {error}")
        self._is_loss_told = True
        self._up.clear()
        self._over.set()

    async def _run(self) -> None:
        """Keep a session up, with growing, jittered pauses between attempts that fail."""
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began_s = time.monotonic()
            await self._session()
            if time.monotonic() - began_s > LAST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s * random.uniform(0.5, 1)):  # noqa: S311 - spreads reconnects
                    await self._stopping.wait()
            pause_s = min(pause_s * 2, LAST_PAUSE_S)

    async def _session(self) -> None:
        """Be connected until a command fails, a task ends, or the link is stopped."""
        self._over.clear()
        subscription: Any = self._listener.pubsub(ignore_subscribe_messages=True)
        self._start_task(self._live(subscription), "live")
        try:
            await self._over.wait()
        finally:
            self._up.clear()
            await self._end_tasks()
            with contextlib.suppress(*LOSSES):
                await subscription.aclose()

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"redis bus: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._over.set()
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, LOSSES):
            log.error("bus.session_failed", task=task.get_name(), exc_info=error)
        if not self._stopping.is_set():
            self.lose(error)

    async def _end_tasks(self) -> None:
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=CANCEL_AGAIN_S)

    async def _live(self, subscription: Any) -> None:
        """Subscribe, prove that it works, start the others, and beat."""
        await self.ask(subscription.subscribe(self._channels.shared, self._channels.own))
        self._start_task(self._listen(subscription), "listen")
        await self._beat()
        await self._owner.prepare()
        self._join()
        for name, chore in self._owner.chores().items():
            self._start_task(chore, name)
        while True:
            await asyncio.sleep(self._beat_interval_s)
            await self._beat()

    def _join(self) -> None:
        self._up.set()
        if self._was_up:
            log.info("bus.recovered")
        again, self._was_up, self._is_loss_told = self._was_up, True, False
        self._owner.joined(again=again)

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

    async def _beat(self) -> None:
        self._beaten.clear()
        async with asyncio.timeout(BEAT_PATIENCE * self._timeout_s):
            await self.client.publish(self._channels.own, b"")
            await self._beaten.wait()


def _client(url: Url, timeout_s: float, connections: int, *, attempts: int) -> Client:
    """Return a client whose commands wait for ever, since :meth:`RedisLink.ask` bounds them; connecting does not.

    ``attempts``: a command may find that Redis has closed its connection meanwhile, and then tries once more. A
    listener does not: that would hide a loss.
    """
    pool = aioredis.BlockingConnectionPool.from_url(
        str(url),
        max_connections=connections,
        timeout=timeout_s,
        socket_timeout=None,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), attempts - 1, supported_errors=(aioredis.ConnectionError,)),
    )
    return aioredis.Redis.from_pool(pool)
