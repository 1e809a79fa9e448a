"""The life of an actor: one asyncio task that takes, handles and answers one message at a time, then ends."""

import asyncio
import contextvars
import logging
import time
from collections.abc import Collection, Hashable, Mapping
from types import CoroutineType, TracebackType
from typing import Any, ClassVar, Self, TypeVar

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.dispatch import Handler, handler_table
from actors.loop_base import PykkaActor
from actors.loop_children import ChildTasks, RetireTimer
from actors.loop_errors import (
    ActorDeadError,
    ActorGoneError,
    ActorInterruptedError,
    ActorStartError,
    NoLoopError,
    UnknownMessageError,
)
from actors.loop_future import LoopFuture
from actors.loop_hooks import as_failure, run_hook
from actors.loop_inbox import LoopInbox, answer_unhandled
from actors.loop_inspect import ActorObserver, BusyActor, Outcome
from actors.loop_ref import LoopActorRef
from actors.loop_waits import IN_ACTOR, RUNNING, LoopFlag, Participant, running_loop
from devpocket.errors import DevPocketError

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_MESSAGES_PER_TURN = 64
_ACTOR_CONTEXT = contextvars.Context()
_ACTOR_CONTEXT.run(IN_ACTOR.set, True)


class ActorLife(PykkaActor):
    """What :class:`LoopActor` is made of, below what the author of an actor uses."""

    inbox_limit: ClassVar[int] = 1000
    """So many messages may wait; one more is refused with ``InboxFullError``."""

    idle_timeout_s: ClassVar[float | None] = None
    """Seconds without activity after which the actor stops itself; None for never."""

    child_stop_timeout_s: ClassVar[float] = 5.0
    """How long ``on_stop`` waits for the cancelled child tasks."""

    told_failure_stops: ClassVar[bool] = False
    """True for Pykka's policy: an exception in a told message calls ``on_failure`` and ends the actor."""

    observer: ClassVar[ActorObserver | None] = None
    """Where figures go; set on this class, it serves all actors of the process."""

    running: ClassVar[dict["asyncio.Task[None]", "ActorLife"]] = RUNNING
    bound_loop: ClassVar[asyncio.AbstractEventLoop | None] = None

    actor_inbox: LoopInbox
    actor_stopped: LoopFlag
    key: Hashable = None
    """The key under which a directory keeps this actor."""

    awaiting: Participant | None = None
    """The actor whose reply this one awaits."""

    told_failures: int = 0
    """How many told messages have failed."""

    _handlers: ClassVar[Mapping[type, Handler]] = {}
    _after: Collection["asyncio.Task[None]"] = ()
    _ready: bool = False
    _started: LoopFuture[None] | None = None
    _start_failure: Exception | None = None
    _busy_with: type | None = None
    _busy_since: float = 0.0
    _children: ChildTasks | None = None
    _retire_timer: RetireTimer | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._handlers = handler_table(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()
        self.actor_inbox.limit = self.inbox_limit
        self.actor_inbox.name = f"{type(self).__name__} ({self.actor_urn})"
        self.actor_inbox.urn = self.actor_urn
        self.actor_stopped = LoopFlag()
        self._actor_ref = LoopActorRef(self)

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """The class with the key, or with the URN where there is no key."""
        return self.actor_inbox.name

    @property
    def actor_ref(self) -> LoopActorRef[Self]:
        """The reference of this actor."""
        ref: LoopActorRef[Self] = self._actor_ref  # type: ignore[assignment]  # set in __init__
        return ref

    def on_told_failure(self, message: Any, error: Exception) -> None:
        """Called when a told ``message`` has raised ``error``, which has been logged and counted."""

    def may_retire(self) -> bool:
        """Tell whether this actor may stop now, having been idle for ``idle_timeout_s``."""
        return True

    # Start

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> LoopActorRef[Self]:
        """Make an actor and start it, from any thread; a failing ``on_start`` is logged, and told to whoever asks.

        Raises:
            NoLoopError: in a thread without a loop, when none has been bound.
        """
        return cls(*args, **kwargs).launch()

    def launch(self, key: Hashable = None, after: Collection["asyncio.Task[None]"] = ()) -> LoopActorRef[Self]:
        """Start this actor under ``key``; its ``on_start`` waits for the end of the tasks ``after``, its predecessors.

        Raises:
            NoLoopError: in a thread without a loop, when none has been bound.
        """
        if key is not None:
            self.key = key
            self.actor_inbox.name = f"{type(self).__name__} ({key})"
        self._after = after
        pykka.ActorRegistry.register(self.actor_ref)
        self._start_actor_loop()
        return self.actor_ref

    @staticmethod
    def _create_actor_inbox() -> LoopInbox:
        return LoopInbox()

    @staticmethod
    def _create_future() -> LoopFuture[Any]:
        return LoopFuture()

    def _start_actor_loop(self) -> None:
        here = running_loop()
        loop = here or ActorLife.bound_loop
        if loop is None or loop.is_closed():
            pykka.ActorRegistry.unregister(self.actor_ref)
            raise NoLoopError(f"No event loop runs in this thread and none is bound; {self} was not started")
        self.actor_inbox.attach(loop)
        if loop is here:
            self._start_task(loop)
        else:
            loop.call_soon_threadsafe(self._start_task, loop)

    def _start_task(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not the context of whoever started it: the actor lives on, and must not log under that request's id for ever.
        task = loop.create_task(self._run(), name=self.label, context=_ACTOR_CONTEXT.copy())
        self.actor_ref.started_task = task
        self.running[task] = self
        task.add_done_callback(self._ended)
        if self.observer is not None:
            self.observer.actor_started(type(self).__name__)

    # The loop

    async def _run(self) -> None:
        task = asyncio.current_task()
        try:
            if await self._start() and task is not None:
                await self._serve(task)
            await self._stop_children()
        except GeneratorExit:  # the loop is gone; nothing can be awaited any more
            raise
        except BaseException as raised:
            await self._end_early(raised)
            raise
        finally:
            self._actor_loop_teardown()

    async def _start(self) -> bool:
        """Run ``on_start`` when the predecessors have ended; return whether the actor lives."""
        if self._after:
            await asyncio.wait(self._after)
            self._after = ()
        failure = await run_hook(self.on_start)
        started, self._started = self._started, None
        if failure is not None:
            self._start_failure = failure
            self._handle_failure(type(failure), failure, failure.__traceback__)
            if started is not None:
                started.set_exception((type(failure), failure, failure.__traceback__))
            return False
        self._ready = True
        if started is not None:
            started.set()
        if self.idle_timeout_s is not None:
            self._retire_timer = RetireTimer(self.idle_timeout_s, self._is_idle, self.actor_ref.order_stop)
        return True

    async def _serve(self, task: "asyncio.Task[None]") -> None:
        inbox, stopped = self.actor_inbox, self.actor_stopped
        in_a_row = 0
        while not stopped.is_set():
            if inbox.empty():
                await inbox.wait()
                in_a_row = 0
            elif in_a_row == _MESSAGES_PER_TURN:  # or a full inbox of quick messages would hold up everybody else
                await asyncio.sleep(0)
                in_a_row = 0
            in_a_row += 1
            await self._handle(inbox.get())
            if task.cancelling():  # a handler swallowed it
                raise asyncio.CancelledError

    async def _handle(self, envelope: Envelope[Any]) -> None:
        message = envelope.message
        self._busy_with = type(message)
        self._busy_since = time.monotonic()
        outcome: Outcome = "interrupted"
        try:
            handler = self._handlers.get(type(message))
            reply = self._handle_receive(message) if handler is None else handler(self, message)
            if isinstance(reply, CoroutineType):  # and nothing else: a handler may return a future for its caller
                reply = await reply
        except BaseException as raised:
            failure = as_failure(raised)
            if failure is None:
                answer_unhandled(envelope, ActorInterruptedError(self.label))
                raise
            outcome = await self._handle_failed(envelope, failure)
        else:
            outcome = "handled"
            if envelope.reply_to is not None:
                envelope.reply_to.set(reply)
        finally:
            self._busy_with = None
            if self._retire_timer is not None and getattr(message, "keeps_awake", True):
                self._retire_timer.touch()
            if self.observer is not None and type(message) is not _ActorStop:
                duration_s = time.monotonic() - self._busy_since
                self.observer.message_ended(type(self).__name__, type(message).__name__, duration_s, outcome)

    async def _handle_failed(self, envelope: Envelope[Any], failure: Exception) -> Outcome:
        """Tell the asker, or log and count what nobody waits for."""
        exc_info = (type(failure), failure, failure.__traceback__)
        refused = isinstance(failure, DevPocketError)  # an answer, not a fault: no traceback
        message_name = type(envelope.message).__name__
        if envelope.reply_to is not None:
            if refused:
                _LOG.debug("%s refused %s: %s", self, message_name, failure)
            else:
                _LOG.info("Exception returned from %s to caller:", self, exc_info=exc_info)
            envelope.reply_to.set_exception(exc_info)
        elif isinstance(failure, UnknownMessageError):
            _LOG.warning("Unexpected message received by %s: %s", self, message_name)
            return "unknown"
        elif self.told_failure_stops:
            self._handle_failure(*exc_info)
            if (second := await run_hook(self.on_failure, *exc_info)) is not None:
                self._handle_failure(type(second), second, second.__traceback__)
        else:
            self.told_failures += 1
            if refused:
                _LOG.info("%s refused told %s: %s", self, message_name, failure)
            else:
                _LOG.error("Exception in %s on told %s:", self, message_name, exc_info=exc_info)
            self.on_told_failure(envelope.message, failure)
        return "refused" if refused else "failed"

    # Stop

    async def _stop(self) -> None:  # _handle_receive returns it, _handle awaits it
        self._leave()
        _LOG.debug("Stopped %s", self)
        await self._stop_children()
        if (failure := await run_hook(self.on_stop)) is not None:
            self._handle_failure(type(failure), failure, failure.__traceback__)

    def _leave(self) -> None:
        """Be dead to others: off the registry, nothing accepted any more."""
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        self.actor_inbox.closed = True
        if self._retire_timer is not None:
            self._retire_timer.cancel()

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exception_value, DevPocketError):
            _LOG.info("%s ends, refused: %s (%s)", self, exception_value, exception_value.detail)
        else:
            _LOG.error("Unhandled exception in %s:", self, exc_info=exception_value)
        self._leave()

    async def _stop_children(self) -> None:
        if self._children is not None:
            await self._children.stop(self.child_stop_timeout_s)

    async def _end_early(self, raised: BaseException) -> None:
        """End this actor, which was cancelled; or end all of them on an exit, as Pykka does, without waiting."""
        task = asyncio.current_task()
        if isinstance(raised, asyncio.CancelledError) and task is not None:
            while task.uncancel():  # so that timeouts and task groups work in on_stop
                continue
        elif isinstance(raised, Exception):
            _LOG.debug("%r in %s, outside its handlers", raised, self)
        else:
            _LOG.debug("%r in %s. Stopping all actors.", raised, self)
            for actor in tuple(self.running.values()):
                actor.actor_ref.order_stop()
        if self._ready and not self.actor_stopped.is_set():
            await self._stop()
        else:
            self._leave()
            await self._stop_children()

    def _actor_loop(self) -> None:
        raise NotImplementedError("The loop of this actor is a coroutine; start() runs it in a task")

    def _actor_loop_teardown(self) -> None:
        if dropped := self.actor_inbox.end(self._death):
            _LOG.warning("%s ended with %d told messages unhandled", self, dropped)
            if self.observer is not None:
                self.observer.messages_dropped(type(self).__name__, dropped)
        if self._started is not None:
            death = self._death()
            self._started.set_exception((type(death), death, None))

    def _death(self) -> ActorDeadError:
        if self._start_failure is None:
            return ActorGoneError(self.label, self.actor_urn)
        return ActorStartError(self.label, self.actor_urn, self._start_failure)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self.running[task]
        if not self.actor_inbox.ended:  # cancelled before its first step: nothing of _run has run
            self._leave()
            self._actor_loop_teardown()
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.critical("%s was ended by %r", self, error, exc_info=error)

    def _is_idle(self) -> bool:
        busy = self._busy_with is not None or not self.actor_inbox.empty()
        kept_awake = self._children is not None and self._children.keep_awake()
        return not busy and not kept_awake and self.may_retire()

    def inspect(self, now_s: float) -> BusyActor | None:
        """Return what this actor is busy with at ``now_s`` of the monotonic clock, or None if it waits for messages."""
        if self._busy_with is None:
            return None
        return BusyActor(
            actor=self.label,
            actor_urn=self.actor_urn,
            key=self.key,
            message_class=self._busy_with.__name__,
            busy_s=now_s - self._busy_since,
            inbox_depth=len(self.actor_inbox),
            awaits=None if self.awaiting is None else self.awaiting.label,
        )
