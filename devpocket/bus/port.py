"""The bus port: what server processes tell each other, and what they count together.

Three things: events, token buckets, and held places. All of them are helpers, never the only carrier of truth. An
event is a hint that something in the store has changed; whoever misses one finds out by reading the store. When the
bus is cut off, every process goes on by itself with its own events, buckets and places, and joins the others again
when it can.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from devpocket.domain.limits import BucketRule, Taken

MAX_EVENT_BYTES = 512 * 1024
"""Room for 64 KiB of raw output as JSON; most events are a few ids."""

Event = Mapping[str, Any]
"""A JSON object: ids and a hint of what changed."""
EventHandler = Callable[[str, Event], None]
"""Called with topic and event on the event loop; quick, typically a ``tell`` to an actor."""
GapHandler = Callable[[], None]
"""Called when events may have been missed: read the store again."""


class Topic(StrEnum):
    """What events are about."""

    ENVIRONMENT_CHANGED = "environment.changed"
    """``environment_id``, ``user_id``: its document has changed, or its user wants something of it."""
    ENVIRONMENT_EVENT = "environment.event"
    """``environment_id``, ``kind``, ``at``, ``data``: what open sockets of the environment are told."""
    ENVIRONMENT_WATCHED = "environment.watched"
    """``environment_id``: somebody looks at it through some process."""
    SESSION_ENDED = "session.ended"
    """``session_id``, ``user_id``: its tokens and sockets must go now."""
    USER_CHANGED = "user.changed"
    """``user_id``: plan, role, lock or name; cached copies are stale."""


@dataclass(frozen=True, slots=True)
class BucketRequest:
    """Tokens wanted out of one bucket.

    ``key`` names the bucket among all processes, such as ``user:4711`` or ``auth:10.1.2.3``.
    """

    key: str
    rule: BucketRule
    amount: float = 1


@dataclass(frozen=True, slots=True)
class BusHealth:
    """What a bus says of itself."""

    name: str
    version: str
    latency_s: float
    degraded: bool


class Subscription(Protocol):
    """One subscriber's stake in the bus."""

    def close(self) -> None:
        """Get no more events. May be called again."""
        ...


class Bus(Protocol):
    """What server processes share."""

    @property
    def degraded(self) -> bool:
        """True while the others cannot be reached and this process counts and hears itself alone."""
        ...

    async def start(self) -> None:
        """Connect in the background. Others that cannot be reached are no reason not to start."""
        ...

    async def close(self) -> None:
        """Send what waits, give up all held places, end all tasks. May be called again."""
        ...

    async def check(self) -> BusHealth:
        """Return version and round-trip time; raises UnavailableError when there is no answer."""
        ...

    async def publish(self, topic: str, event: Event) -> None:
        """Tell all subscribers in all processes, this one's before it returns, the others' within a moment.

        Never waits for the network and never fails because of it. Raises ``ValueError`` for an event above
        ``MAX_EVENT_BYTES`` and ``TypeError`` for what is not JSON.
        """
        ...

    def subscribe(self, handler: EventHandler, on_gap: GapHandler | None = None) -> Subscription:
        """Get every event of every topic from now on, in the order in which each process published them.

        ``on_gap`` is called after each time that events may have been lost, when new ones are heard again. What a
        handler raises is logged and keeps nothing from the others.
        """
        ...

    async def take(self, requests: Sequence[BucketRequest]) -> list[Taken]:
        """Take tokens out of several buckets in one round trip; each is granted or refused by itself.

        Buckets are made when they are first asked for and forgotten when they are full again. Raises ``ValueError``
        for an amount above the bucket's capacity. Cancelling may or may not have taken the tokens.
        """
        ...

    async def hold(self, key: str, member: str, limit: int) -> bool:
        """Hold one of ``limit`` places of ``key`` (the sockets of a user) for ``member``, until :meth:`drop`.

        Returns False when all are held. Asking again for a member that holds a place is True. Places are kept alive
        by the bus itself, so that those of a process that died become free within a minute.
        """
        ...

    async def drop(self, key: str, member: str) -> None:
        """Give the place back; nothing happens when ``member`` holds none."""
        ...
