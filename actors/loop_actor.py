"""The actor as its author sees it."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from actors.dispatch import Message
from actors.loop_children import ChildTasks
from actors.loop_errors import ActorDeadError, UnknownMessageError
from actors.loop_future import LoopFuture
from actors.loop_life import ActorLife
from actors.loop_ref import LoopActorRef

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


class LoopActor(ActorLife):
    """An actor on the event loop. Subclass it, mark methods with ``handles``, override hooks as needed.

    ``on_start``, ``on_stop``, ``on_failure`` and handlers may be coroutines. ``on_stop`` runs once, after an
    ``on_start`` that succeeded, also when the actor is cancelled.
    """

    @classmethod
    async def spawn(cls, *args: Any, **kwargs: Any) -> LoopActorRef[Self]:
        """Start an actor, wait for its ``on_start`` and return its ref. Cancelling this stops the actor.

        Raises:
            Exception: what ``on_start`` raised.
            ActorGoneError: it was ended before ``on_start`` had finished.
        """
        actor = cls(*args, **kwargs)
        started = actor._started = LoopFuture()
        ref = actor.launch()
        started.target = ref
        try:
            await started
        except asyncio.CancelledError:
            ref.order_stop()
            raise
        return ref

    def tell_self(self, message: Message[Any]) -> None:
        """Put a message into the own inbox, as a child task does when it is done.

        It is dropped when the actor has been asked to stop: what waited before that is handled to its end, and whoever
        asked for it gets the answer.

        Raises:
            InboxFullError: too many messages wait.
        """
        try:
            self.actor_ref.tell(message)
        except ActorDeadError:
            _LOG.debug("%s stops and tells itself no %s", self, type(message).__name__)

    def start_child(self, work: Coroutine[Any, Any, T], name: str, *, keeps_awake: bool = True) -> "asyncio.Task[T]":
        """Run long work beside the actor, which stays responsive; the work tells the actor when it is done.

        The actor owns the task: it is cancelled and awaited before ``on_stop``. What it raises is logged and given to
        :meth:`on_child_failure`. With ``keeps_awake=False`` (a periodic child) it does not hold up retirement.

        Raises:
            ActorDeadError: the actor has stopped; the work has not begun.
        """
        if self.actor_stopped.is_set():
            work.close()
            raise ActorDeadError(f"{self} has stopped and starts no child tasks")
        if self._children is None:
            self._children = ChildTasks(self.label, self.on_child_failure)
        return self._children.start(work, name, keeps_awake=keeps_awake)

    def on_child_failure(self, name: str, error: Exception) -> None:
        """Called when the child task ``name`` has raised ``error``, which has been logged."""

    def on_receive(self, message: Any) -> Any:
        """Handle a message for which no method is marked: refuse it."""
        raise UnknownMessageError(f"{type(self).__name__} does not handle {type(message).__name__}")
