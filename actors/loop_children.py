"""What an actor owns besides its state: child tasks for long work, and the timer of its retirement."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from actors.loop_errors import ActorGoneError
from devpocket.errors import DevPocketError

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


class ChildTasks:
    """The child tasks of one actor. They end with it at the latest."""

    __slots__ = ("_on_failure", "_owner", "_tasks")

    def __init__(self, owner: str, on_failure: Callable[[str, Exception], None]) -> None:
        self._owner = owner
        self._on_failure = on_failure
        self._tasks: dict[asyncio.Task[Any], bool] = {}

    def start(self, work: Coroutine[Any, Any, T], name: str, *, keeps_awake: bool) -> "asyncio.Task[T]":
        """Run ``work`` in a task of its own."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}/{name}")
        self._tasks[task] = keeps_awake
        task.add_done_callback(self._ended)
        return task

    def keep_awake(self) -> bool:
        """Tell whether one runs that the actor must not retire from."""
        return any(self._tasks.values())

    async def stop(self, timeout_s: float) -> None:
        """Cancel all and wait until they have ended; name those that still run after ``timeout_s``."""
        if not self._tasks:
            return
        for task in self._tasks:
            task.cancel()
        _, stubborn = await asyncio.wait(tuple(self._tasks), timeout=timeout_s)
        for task in stubborn:
            _LOG.error("Child task %s does not end on being cancelled; left behind", task.get_name())

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        del self._tasks[task]
        if task.cancelled() or (error := task.exception()) is None:
            return
        # One that would have told its ending actor something is on its way to be cancelled.
        refusal = isinstance(error, (DevPocketError, ActorGoneError))
        _LOG.log(
            logging.INFO if refusal else logging.ERROR,
            "Child task %s failed: %s",
            task.get_name(),
            error,
            exc_info=None if refusal else error,
        )
        if isinstance(error, Exception):
            self._on_failure(task.get_name().rpartition("/")[2], error)


class RetireTimer:
    """Calls ``retire`` when an actor has been idle for ``timeout_s``.

    One timer that looks at the time of the last activity, rather than one cancelled and made anew with every message.
    """

    __slots__ = ("_handle", "_is_idle", "_loop", "_retire", "_timeout_s", "_touched_at")

    def __init__(self, timeout_s: float, is_idle: Callable[[], bool], retire: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._is_idle = is_idle
        self._retire = retire
        self._touched_at = self._loop.time()
        self._handle = self._loop.call_later(timeout_s, self._check)

    def touch(self) -> None:
        """Note that there was activity just now."""
        self._touched_at = self._loop.time()

    def cancel(self) -> None:
        """Stop it; safe to repeat."""
        self._handle.cancel()

    def _check(self) -> None:
        now = self._loop.time()
        if not self._is_idle():
            self._touched_at = now
        if self._touched_at + self._timeout_s <= now:
            self._retire()
            return
        self._handle = self._loop.call_at(self._touched_at + self._timeout_s, self._check)
