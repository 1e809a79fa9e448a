"""Waiting: whose reply each actor awaits, and who must not wait at all."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Any, Protocol

from actors.loop_errors import ActorDeadlockError, WouldBlockLoopError


class Participant(Protocol):
    """An actor, as far as waiting is concerned."""

    awaiting: "Participant | None"

    @property
    def label(self) -> str:
        """The name of this actor for people."""
        ...


RUNNING: dict["asyncio.Task[Any]", Any] = {}
"""Live actors by their own task, first started first.

asyncio holds tasks weakly and refs hold actors weakly, so without this a busy actor could be collected.
"""

IN_ACTOR: ContextVar[bool] = ContextVar("in_actor", default=False)
"""True in the task of an actor and in all tasks begun from there; spares everybody else the look at RUNNING."""


def waiting_actor() -> Participant | None:
    """Return the actor that would wait here. One whose child task waits is not waiting itself."""
    task = asyncio.current_task()
    return None if task is None else RUNNING.get(task)


def begin_wait(waiter: Participant, target: Participant | None) -> None:
    """Note that ``waiter`` now awaits a reply of ``target``.

    Raises:
        ActorDeadlockError: if ``target`` itself awaits ``waiter``, be it over several others; names the path.
    """
    path = [waiter.label]
    node = target
    while node is not None:
        path.append(node.label)
        if node is waiter:
            raise ActorDeadlockError(" -> ".join(path))
        node = node.awaiting
    waiter.awaiting = target


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def refuse_to_block(call: str) -> None:
    """Raise :class:`WouldBlockLoopError` if an event loop runs in this thread."""
    if running_loop() is not None:
        raise WouldBlockLoopError(f"{call} would block the event loop; await its non-blocking form")


class LoopFlag:
    """The four methods of ``threading.Event`` for a fraction of its memory.

    A real event exists only while another thread waits. ``clear`` does not wake anybody.
    """

    __slots__ = ("_event", "_is_set")

    _lock = threading.Lock()

    def __init__(self) -> None:
        self._is_set = False
        self._event: threading.Event | None = None

    def is_set(self) -> bool:
        """Tell whether the flag is up."""
        return self._is_set

    def set(self) -> None:
        """Raise the flag and wake the threads that wait for it."""
        with self._lock:
            self._is_set = True
            event, self._event = self._event, None
        if event is not None:
            event.set()

    def clear(self) -> None:
        """Lower the flag."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Block this thread until the flag is up or ``timeout`` seconds have passed; return whether it is up.

        Raises:
            WouldBlockLoopError: if it is not up and an event loop runs in this thread.
        """
        if self._is_set:
            return True
        refuse_to_block("wait() on a flag")
        with self._lock:
            if self._is_set:
                return True
            event = self._event = self._event or threading.Event()
        return event.wait(timeout)
