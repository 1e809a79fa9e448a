"""The reference through which an actor on the loop is reached."""

import asyncio
import weakref
from typing import Any, Generic, Literal, TypeVar, overload

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.loop_errors import ActorDeadError, ActorGoneError
from actors.loop_future import LoopFuture
from actors.loop_inbox import LoopInbox
from actors.loop_waits import Participant, refuse_to_block

A_co = TypeVar("A_co", covariant=True)


class LoopActorRef(pykka.ActorRef[Any], Generic[A_co]):
    """Pykka's ref, except that it never blocks a loop and that a stop can be awaited.

    On the loop: ``await ref.ask(message, block=False)`` and ``await ref.stop(block=False)``.
    """

    actor_inbox: LoopInbox
    started_task: "asyncio.Task[None] | None" = None
    """The actor's own task; None for a moment after another thread has started it."""

    _actor_weakref: "weakref.ref[Any]"

    def participant(self) -> Participant | None:
        """Return the actor for deadlock detection, or None if it is gone."""
        actor: Any = self._actor_weakref()
        return actor  # type: ignore[no-any-return]

    @property
    def task(self) -> "asyncio.Task[None]":
        """The actor's own task, for the loop; done means that ``on_stop`` has finished.

        Raises:
            RuntimeError: another thread has started the actor, and the loop has not got to it yet.
        """
        if self.started_task is None:
            raise RuntimeError(f"{self} has not been started on its loop yet")
        return self.started_task

    def is_alive(self) -> bool:
        """Tell whether the actor has not stopped; on a closed loop it is dead."""
        return not self.actor_stopped.is_set() and not self.actor_inbox.loop_closed()

    def accepts(self) -> bool:
        """Tell whether the actor takes messages: it has neither ended nor been asked to."""
        return not self.actor_inbox.closed

    def order_stop(self) -> None:
        """Ask the actor to stop, without a reply; nothing happens if it is dead."""
        try:
            self.actor_inbox.put(Envelope(_ActorStop()))
        except ActorGoneError:
            return

    @overload
    def ask(self, message: Any, *, block: Literal[False], timeout: float | None = None) -> LoopFuture[Any]: ...
    @overload
    def ask(self, message: Any, *, block: Literal[True], timeout: float | None = None) -> Any: ...
    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any: ...
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and return its reply, or with ``block=False`` the future of the reply.

        Raises (through the future, with ``block=False``):
            WouldBlockLoopError: at once, nothing being sent, if it would block and a loop runs in this thread.
            pykka.Timeout: after ``timeout`` seconds of blocking.
            ActorGoneError: the actor ended before it handled the message.
            ActorStartError: its ``on_start`` failed.
            ActorInterruptedError: it was ended while handling the message.
            InboxFullError: it has too many messages waiting.
            Exception: whatever the handler raised.
        """
        if block:
            refuse_to_block("ask()")
        reply: LoopFuture[Any] = LoopFuture()
        reply.target = self
        self.actor_inbox.put(Envelope(message, reply))
        return reply.get(timeout=timeout) if block else reply

    @overload
    def stop(self, *, block: Literal[True], timeout: float | None = None) -> bool: ...
    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = None) -> LoopFuture[bool]: ...
    @overload
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | LoopFuture[bool]: ...
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | LoopFuture[bool]:
        """Ask the actor to stop when it has handled what waits now.

        The result comes when ``on_stop`` has finished: True, or False if the actor was dead already. Cancelling the
        wait does not call the stop off. Blocks, times out and raises as :meth:`ask` does.
        """
        if block:
            refuse_to_block("stop()")
        asked = self.ask(_ActorStop(), block=False)

        def was_alive(timeout: float | None) -> bool:
            try:
                asked.get(timeout=timeout)
            except ActorDeadError:
                return False
            return True

        stopped: LoopFuture[bool] = LoopFuture.derived(was_alive, asked)
        return stopped.get(timeout=timeout) if block else stopped
