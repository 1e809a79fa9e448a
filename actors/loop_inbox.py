"""The inbox of an actor on the loop."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.loop_errors import ActorGoneError, InboxFullError
from actors.loop_waits import refuse_to_block, running_loop

_LOG = logging.getLogger(__name__)


class LoopInbox:
    """Messages in the order in which each sender sent them, and at most one waiter: the actor.

    Only the loop's thread touches it, so it needs no lock; what another thread puts is handed over to the loop. Putting
    a stop message closes it: whatever comes later is refused at once, so the directory can send it to the successor
    and nothing waits behind a stop to be lost.
    """

    __slots__ = ("_loop", "_messages", "_waiter", "closed", "ended", "limit", "name", "urn")

    def __init__(self) -> None:
        self.closed = False
        self.ended = False
        self.limit = 0
        self.name = ""
        self.urn = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._messages: deque[Envelope[Any]] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._messages or ())

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop on which the actor takes its messages."""
        self._loop = loop

    def loop_closed(self) -> bool:
        """Tell whether the actor's loop is closed, and nothing will be taken any more."""
        return self._loop is not None and self._loop.is_closed()

    def empty(self) -> bool:
        """Tell whether there is nothing to take."""
        return not self._messages

    def put(self, envelope: Envelope[Any]) -> None:
        """Add a message; from the thread of another loop or none, hand it to the actor's loop.

        A refusal goes to the asker as the outcome of its future, and is raised to a teller. A teller on another thread
        has gone by then: its refused message is logged and dropped.

        Raises:
            ActorGoneError: if the actor has ended or been asked to, or its loop is closed.
            InboxFullError: if ``limit`` messages wait already; never for a stop.
        """
        loop = self._loop
        if loop is None or loop is running_loop():
            self._accept(envelope)
            return
        try:
            loop.call_soon_threadsafe(self._accept_from_thread, envelope)
        except RuntimeError:  # the loop is closed, and with it the actor is dead
            self.closed = self.ended = True
            self._accept(envelope)

    def get(self) -> Envelope[Any]:
        """Take the first message.

        Raises:
            WouldBlockLoopError: if there is none. Nobody may wait here; the actor awaits :meth:`wait`.
        """
        messages = self._messages
        if not messages:
            refuse_to_block("get() on an empty inbox")
            raise NotImplementedError("only the actor's own loop takes messages")
        envelope = messages.popleft()
        if not messages:
            self._messages = None  # an empty deque is 600 bytes, and most actors are idle
        return envelope

    def wait(self) -> "asyncio.Future[None]":
        """Return a future that is done when there is something to take. Cancelling it loses nothing."""
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def end(self, death: Callable[[], Exception]) -> int:
        """Close it for good and answer what was left with ``death()``; return how many told messages were dropped."""
        self.closed = self.ended = True
        left, self._messages = self._messages or (), None
        for envelope in left:
            answer_unhandled(envelope, death())
        return sum(1 for envelope in left if envelope.reply_to is None and not isinstance(envelope.message, _ActorStop))

    def _accept(self, envelope: Envelope[Any]) -> None:
        stops = type(envelope.message) is _ActorStop
        if self.closed and (self.ended or not stops):
            _refuse(envelope, ActorGoneError(self.name, self.urn, found=not self.ended))
            return
        if self._messages is None:
            self._messages = deque()
        elif len(self._messages) >= self.limit and not stops:
            _refuse(envelope, InboxFullError(self.name, self.limit))
            return
        self._messages.append(envelope)
        self.closed = self.closed or stops
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _accept_from_thread(self, envelope: Envelope[Any]) -> None:
        try:
            self._accept(envelope)
        except (ActorGoneError, InboxFullError) as refusal:
            _LOG.warning("Dropped %s from another thread: %s", type(envelope.message).__name__, refusal)


def answer_unhandled(envelope: Envelope[Any], error: Exception) -> None:
    """Give ``error`` to whoever asked; one who asked for a stop has got it, and a teller does not wait."""
    if envelope.reply_to is None:
        return
    if isinstance(envelope.message, _ActorStop):
        envelope.reply_to.set(None)
    else:
        envelope.reply_to.set_exception((type(error), error, None))


def _refuse(envelope: Envelope[Any], refusal: Exception) -> None:
    if envelope.reply_to is None:
        raise refusal
    envelope.reply_to.set_exception((type(refusal), refusal, None))
