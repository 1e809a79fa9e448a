"""One live actor per key in this process: found, started and restarted as messages need it.

Whoever uses actors sees nothing but this. Belongs to the event loop's thread.
"""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from actors.loop import (
    ActorDeadError,
    ActorGoneError,
    ActorStartError,
    BusyActor,
    LoopActor,
    LoopActorRef,
    Message,
    StopReport,
    busy_actors,
    stop_actors,
)
from devpocket.errors import UnavailableError

KeyT = TypeVar("KeyT", bound=Hashable)
ReplyT = TypeVar("ReplyT")


@dataclass(slots=True)
class _Slot:
    """The actor of one key, and the tasks of it and its predecessors that have not ended."""

    ref: LoopActorRef[LoopActor]
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)


class Directory(Generic[KeyT]):
    """The actors of one kind by their key.

    ``make`` is the actor class, or a function that makes the actor; it gets the key. A successor's ``on_start`` begins
    when its predecessor's ``on_stop`` has ended, so never are two at work for one key, and stopping an idle actor loses
    nothing.
    """

    def __init__(self, make: Callable[[KeyT], LoopActor], *, ask_timeout_s: float = 10.0) -> None:
        self._make = make
        self._ask_timeout_s = ask_timeout_s
        self._slots: dict[KeyT, _Slot] = {}
        self._closed = False
        self.starts = 0
        """How many actors have been started, first ones and successors."""

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: object) -> bool:
        return key in self._slots

    def keys(self) -> list[KeyT]:
        """Return the keys whose actors live or are just ending."""
        return list(self._slots)

    def inbox_depth(self) -> int:
        """Return how many messages wait in all inboxes together."""
        return sum(len(slot.ref.actor_inbox) for slot in self._slots.values())

    def busy(self) -> list[BusyActor]:
        """Return the actors of this directory that are handling a message now, the longest at it first."""
        urns = {slot.ref.actor_urn for slot in self._slots.values()}
        return [busy for busy in busy_actors() if busy.actor_urn in urns]

    def get(self, key: KeyT) -> LoopActorRef[LoopActor]:
        """Return the live actor for ``key``, starting one if there is none.

        Raises:
            UnavailableError: the directory has been stopped.
        """
        slot = self._slots.get(key)
        if slot is not None and slot.ref.accepts():
            return slot.ref
        if self._closed:
            raise UnavailableError(
                "The server is shutting down. Try again in a moment.", code="shutting_down", retry_after_s=1
            )
        asyncio.get_running_loop()  # raises in any other thread, before there is an actor that nobody keeps
        ref = self._make(key).launch(key, after=tuple(slot.tasks) if slot is not None else ())
        if slot is None:
            slot = self._slots[key] = _Slot(ref)
        slot.ref = ref
        slot.tasks.add(ref.task)
        ref.task.add_done_callback(partial(self._ended, key, slot))
        self.starts += 1
        return ref

    async def ask(self, key: KeyT, message: Message[ReplyT], timeout: float | None = None) -> ReplyT:
        """Send ``message`` to the actor for ``key`` and return its reply.

        If the actor ends before it has handled the message, the message goes to its successor; never if it may have
        been handled. Cancelling this, or its timeout, leaves the work going on.

        Args:
            key: which actor.
            message: what to ask.
            timeout: seconds to wait; None for the directory's default. There is always a limit.

        Raises:
            UnavailableError: no reply in time, too many messages waiting, the actor was interrupted, or shutdown.
            ActorDeadlockError: asked by an actor for which the one asked is waiting.
            Exception: whatever the handler raised, or ``on_start`` of an actor that had to be started.
        """
        limit_s = self._ask_timeout_s if timeout is None else timeout
        deadline = asyncio.timeout(limit_s)
        try:
            async with deadline:
                return await self._ask_until_handled(key, message)
        except TimeoutError:
            if not deadline.expired():  # the handler's own
                raise
            raise UnavailableError(
                "This takes longer than expected. It may still complete; look again in a moment.",
                code="timeout",
                detail=f"{type(message).__name__} to {key}: no reply within {limit_s} s",
                retry_after_s=5,
            ) from None

    async def _ask_until_handled(self, key: KeyT, message: Message[ReplyT]) -> ReplyT:
        while True:
            ref = self.get(key)
            try:
                reply: ReplyT = await ref.ask(message, block=False)
            except ActorGoneError as gone:
                if gone.actor_urn != ref.actor_urn:  # not the one asked here, but one that its handler asked
                    raise
            except ActorStartError as error:
                if error.actor_urn != ref.actor_urn:
                    raise
                raise error.failure from error.failure.__cause__
            else:
                return reply

    def tell(self, key: KeyT, message: Message[Any]) -> None:
        """Send ``message`` to the actor for ``key``, starting one if there is none; nobody hears how it ends.

        Raises:
            InboxFullError: an ``UnavailableError``: too many messages wait.
            UnavailableError: the directory has been stopped.
        """
        self.get(key).tell(message)

    def tell_if_alive(self, key: KeyT, message: Message[Any]) -> bool:
        """Send ``message`` if there is an actor for ``key``; return whether there was one that took it.

        Raises:
            InboxFullError: an ``UnavailableError``: too many messages wait.
        """
        slot = self._slots.get(key)
        if slot is None:
            return False
        try:
            slot.ref.tell(message)
        except ActorDeadError:
            return False
        return True

    async def stop(self, key: KeyT, deadline_s: float = 10.0) -> bool:
        """Stop the actor for ``key`` and wait until ``on_stop`` has ended; return whether there was one.

        What waits in its inbox is handled first. After ``deadline_s`` it is cancelled. Cancelling this leaves it
        stopping.
        """
        slot = self._slots.get(key)
        if slot is None:
            return False
        await stop_actors([slot.ref], deadline_s)
        return True

    async def stop_all(self, deadline_s: float) -> StopReport:
        """Start no more actors, stop all that live, together, and cancel those that miss the deadline."""
        self._closed = True
        return await stop_actors([slot.ref for slot in self._slots.values()], deadline_s)

    def _ended(self, key: KeyT, slot: _Slot, task: "asyncio.Task[None]") -> None:
        slot.tasks.discard(task)
        if not slot.tasks:
            del self._slots[key]
