"""The reply that an ask returns: Pykka's future, awaitable without stopping the loop."""

import asyncio
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

import pykka

from actors.loop_errors import ActorDeadlockError
from actors.loop_waits import IN_ACTOR, Participant, begin_wait, refuse_to_block, running_loop, waiting_actor

T = TypeVar("T")
J = TypeVar("J")
M = TypeVar("M")
R = TypeVar("R")

ExcInfo: TypeAlias = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]

_UNSET: Final = object()
# One lock for all futures, held for a few instructions: a lock and a condition each is what makes Pykka's own heavy.
_LOCK = threading.Lock()


class Target(Protocol):
    """Who will reply: a ref, which knows its actor only weakly."""

    def participant(self) -> Participant | None:
        """Return the actor, or None if it is gone."""
        ...


class LoopFuture(pykka.Future[T]):
    """A value that is there now or later, for tasks on the loop and for other threads.

    Awaiting it may be cancelled at any time and by any number of waiters; the work behind it goes on.
    """

    # Defaults on the class: an ask makes one of these, and pays only for the attributes that it needs.
    target: Target | None = None
    _done: bool = False
    _value: Any = None
    _exc_info: Any = None
    _waiters: "list[asyncio.Future[None]] | None" = None
    _event: threading.Event | None = None
    _get_hook: Callable[[float | None], T] | None = None
    _get_hook_result: Any = _UNSET
    _sources: "tuple[pykka.Future[Any], ...]" = ()

    def __init__(self) -> None:
        """Skip Pykka's, which would set what the defaults above already say."""

    @classmethod
    def derived(cls, hook: Callable[[float | None], T], *sources: pykka.Future[Any]) -> "LoopFuture[T]":
        """Return a future whose value is ``hook(timeout)``, which does not wait once all ``sources`` are there."""
        future: LoopFuture[T] = cls()
        future.set_get_hook(hook)
        return _needing(future, *sources)

    def get(self, *, timeout: float | None = None) -> T:
        """Return the value, blocking this thread for at most ``timeout`` seconds (for ever with None).

        Raises:
            WouldBlockLoopError: if it is not there yet and an event loop runs in this thread.
            pykka.Timeout: if it did not come in time.
            Exception: the one that was set instead of a value.
        """
        if (hook := self._get_hook) is not None:
            if self._get_hook_result is _UNSET and not self._sources:
                refuse_to_block("get() on a future with a get hook")
            return self._run_hook(hook, timeout)
        if not self._done:
            refuse_to_block("get() on an unfinished future")
            with _LOCK:
                event = self._event = self._event or threading.Event()
                if self._done:
                    event.set()
            if not event.wait(timeout):
                raise pykka.Timeout(f"{timeout} seconds")
        return self._outcome()

    def set(self, value: T | None = None) -> None:
        """Set the value and wake all who wait, from any thread.

        Raises:
            queue.Full: if there is an outcome already.
        """
        self._settle(value, None)

    def set_exception(self, exc_info: ExcInfo | None = None) -> None:
        """Set an exception (by default the one being handled) as the outcome; otherwise like :meth:`set`."""
        self._settle(None, exc_info or sys.exc_info())

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Let ``func(timeout)`` make the value. Awaiting such a future runs it in a worker thread."""
        if self._done:
            raise queue.Full
        self._get_hook = func

    def map(self, func: Callable[[T], M]) -> "LoopFuture[M]":
        """Return a future of ``func(value)``."""
        return _needing(super().map(func), self)

    def filter(self: "LoopFuture[Iterable[J]]", func: Callable[[J], bool]) -> "LoopFuture[Iterable[J]]":
        """Return a future of the list of the items for which ``func(item)`` is true."""
        return _needing(pykka.Future.filter(self, func), self)

    def join(self: "LoopFuture[Any]", *futures: pykka.Future[Any]) -> "LoopFuture[Iterable[Any]]":
        """Return a future of the list of the values of this one and ``futures``."""
        return _needing(pykka.Future.join(self, *futures), self, *futures)

    def reduce(self: "LoopFuture[Iterable[J]]", func: Callable[[R, J], R], *args: R) -> "LoopFuture[R]":
        """Return a future of ``functools.reduce(func, value, *args)``."""
        return _needing(pykka.Future.reduce(self, func, *args), self)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait without blocking the loop; an actor that waits shows meanwhile whose reply it awaits.

        Raises:
            ActorDeadlockError: if the actor that awaits this would wait for itself.
        """
        if self._get_hook is not None:
            return (yield from self._await_hook(self._get_hook).__await__())
        if self._done:
            return self._outcome()
        waiter = asyncio.get_running_loop().create_future()
        actor = waiting_actor() if IN_ACTOR.get() else None
        if actor is not None and self.target is not None:
            begin_wait(actor, self.target.participant())
        try:
            if self._add(waiter):
                yield from waiter
        finally:
            if actor is not None:
                actor.awaiting = None
            if not self._done:
                self._forget(waiter)
        return self._value if self._exc_info is None else self._outcome()

    __iter__ = __await__

    def _add(self, waiter: "asyncio.Future[None]") -> bool:
        """Have ``waiter`` woken by the outcome, unless it is there already."""
        with _LOCK:
            if self._done:
                return False
            if self._waiters is None:
                self._waiters = [waiter]
            else:
                self._waiters.append(waiter)
            return True

    def _forget(self, waiter: "asyncio.Future[None]") -> None:
        """Drop a cancelled waiter, so that a future nobody answers does not collect them."""
        with _LOCK:
            if self._waiters is not None and waiter in self._waiters:
                self._waiters.remove(waiter)

    async def _await_hook(self, hook: Callable[[float | None], T]) -> T:
        """Wait for all that the hook needs, then run it; a hook that knows only threads gets a thread."""
        if self._get_hook_result is _UNSET:
            if not self._sources:
                return await asyncio.to_thread(self._run_hook, hook, None)
            for source in self._sources:
                try:
                    await (source if isinstance(source, LoopFuture) else asyncio.to_thread(source.get))
                except ActorDeadlockError:  # perhaps not the source's outcome, but the end of waiting for it
                    raise
                except Exception:  # the hook meets the same error below, and decides what it means
                    break
        return self._run_hook(hook, None)

    def _run_hook(self, hook: Callable[[float | None], T], timeout: float | None) -> T:
        if self._get_hook_result is _UNSET:
            self._get_hook_result = hook(timeout)
        result: T = self._get_hook_result
        return result

    def _settle(self, value: Any, exc_info: Any) -> None:
        with _LOCK:
            if self._done or self._get_hook is not None:
                raise queue.Full
            self._value = value
            self._exc_info = exc_info
            self._done = True
            waiters, self._waiters = self._waiters, None
            event = self._event
        if event is not None:
            event.set()
        if waiters is not None:
            here = running_loop()
            for waiter in waiters:
                _wake(waiter, here)

    def _outcome(self) -> T:
        if self._exc_info is None:
            value: T = self._value
            return value
        exception_type, exception, traceback = self._exc_info
        if exception is None:
            exception = exception_type()
        # The traceback as it was set: otherwise every waiter would add its own frames to the shared exception.
        raise exception.with_traceback(traceback)


def _needing(future: pykka.Future[M], *sources: pykka.Future[Any]) -> LoopFuture[M]:
    """Make a future with a get hook awaitable: its hook needs ``sources``, and then does not wait any more."""
    derived = cast("LoopFuture[M]", future)  # Pykka makes it of the class of the first source
    derived._sources = sources  # noqa: SLF001
    return derived


def _wake(waiter: "asyncio.Future[None]", here: asyncio.AbstractEventLoop | None) -> None:
    loop = waiter.get_loop()
    if loop is here:
        if not waiter.done():
            waiter.set_result(None)
    elif not loop.is_closed():
        loop.call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
