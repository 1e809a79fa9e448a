"""Pykka's actors on the event loop: one asyncio task per actor, one message at a time.

Handlers may be ``def`` or ``async def``. Pykka's contract holds (order, failure, stop, teardown, registry, proxies)
with these differences, which ``docs/actors.md`` explains:

- every blocking call raises :class:`WouldBlockLoopError` on a loop, before anything is sent;
- an exception in a *told* message is logged and counted instead of ending the actor (``told_failure_stops``);
- a message that comes after a stop is refused at once instead of being lost.

Only this module and its parts, ``actors.loop_*``, import pykka, so nobody gets hold of ``ThreadingActor``, whose
futures stop the loop when they are awaited.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from actors.dispatch import Message, handles
from actors.loop_actor import LoopActor
from actors.loop_errors import (
    ActorDeadError,
    ActorDeadlockError,
    ActorGoneError,
    ActorInterruptedError,
    ActorStartError,
    AwaitCancelledError,
    InboxFullError,
    NoLoopError,
    UnknownMessageError,
    WouldBlockLoopError,
)
from actors.loop_future import LoopFuture
from actors.loop_inbox import LoopInbox
from actors.loop_inspect import ActorObserver, BusyActor, Outcome
from actors.loop_life import ActorLife
from actors.loop_ref import LoopActorRef
from actors.loop_waits import LoopFlag

__all__ = [
    "ActorDeadError",
    "ActorDeadlockError",
    "ActorGoneError",
    "ActorInterruptedError",
    "ActorObserver",
    "ActorStartError",
    "AwaitCancelledError",
    "BusyActor",
    "InboxFullError",
    "LoopActor",
    "LoopActorRef",
    "LoopFlag",
    "LoopFuture",
    "LoopInbox",
    "Message",
    "NoLoopError",
    "Outcome",
    "StopReport",
    "UnknownMessageError",
    "WouldBlockLoopError",
    "bind_loop",
    "busy_actors",
    "handles",
    "spawn",
    "stop_actors",
    "stop_all",
]

ActorT = TypeVar("ActorT", bound=LoopActor)

_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class StopReport:
    """How a number of actors ended."""

    stopped: int
    """So many ended by themselves within the deadline."""

    cancelled: int
    """So many had to be cancelled."""

    abandoned: tuple[str, ...]
    """These ran on in spite of two cancellations."""


def bind_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Name the loop on which actors run that are started from a thread without one; None takes it back."""
    ActorLife.bound_loop = loop


async def spawn(actor_class: type[ActorT], *args: Any, **kwargs: Any) -> LoopActorRef[ActorT]:
    """Start an actor and wait for its ``on_start``; see :meth:`LoopActor.spawn`."""
    return await actor_class.spawn(*args, **kwargs)


def busy_actors() -> list[BusyActor]:
    """Return the actors that are handling a message now, those first that have been at it the longest."""
    now_s = time.monotonic()
    seen = (actor.inspect(now_s) for actor in LoopActor.running.values())
    return sorted((busy for busy in seen if busy is not None), key=lambda busy: -busy.busy_s)


async def stop_all(deadline_s: float) -> StopReport:
    """Stop all actors of this loop together, as :func:`stop_actors` does."""
    loop = asyncio.get_running_loop()
    return await stop_actors(
        [actor.actor_ref for task, actor in LoopActor.running.items() if task.get_loop() is loop], deadline_s
    )


async def stop_actors(refs: Iterable[LoopActorRef[Any]], deadline_s: float) -> StopReport:
    """Ask actors to stop and wait for them; cancel those that are not done after ``deadline_s``.

    A cancelled actor still gets 2 s for its ``on_stop``, which a second cancellation then cuts short. An actor that
    stops itself among others is asked, but not waited for. Cancelling this leaves the actors stopping.
    """
    stopping = []
    for ref in refs:
        ref.order_stop()
        if ref.started_task is not None and ref.started_task is not asyncio.current_task():
            stopping.append(ref.started_task)
    pending = await _wait(stopping, deadline_s)
    cancelled = len(pending)
    for _ in range(2):
        for task in pending:
            task.cancel()
        pending = await _wait(pending, _GRACE_S)
    return StopReport(len(stopping) - cancelled, cancelled, tuple(task.get_name() for task in pending))


async def _wait(tasks: "Iterable[asyncio.Task[None]]", timeout_s: float) -> "set[asyncio.Task[None]]":
    """Return the tasks that have not ended within ``timeout_s``."""
    awaited = set(tasks)
    if not awaited:
        return awaited
    return (await asyncio.wait(awaited, timeout=timeout_s))[1]
