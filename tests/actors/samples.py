"""Actors to test with, and waiting for a condition."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from actors.loop import LoopActor, LoopActorRef, Message, handles

ActorT = TypeVar("ActorT")


async def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Return as soon as ``condition()`` is true; a TimeoutError after ``within_s``."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  most of what tests wait for has no event
            await asyncio.sleep(0.001)


@dataclass(frozen=True, slots=True)
class Note(Message[int]):
    """Write a value down; the reply is how many there are."""

    value: Any


@dataclass(frozen=True, slots=True)
class Recall(Message[list[Any]]):
    """What has been written down, in order."""


@dataclass(frozen=True, slots=True)
class Fail(Message[None]):
    """Raise this error."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Run(Message[Any]):
    """Await this and reply with its result."""

    work: Callable[[], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class Call(Message[Any]):
    """Call this with the actor and reply with its result."""

    function: Callable[["Notebook"], Any]


@dataclass(frozen=True, slots=True)
class Unheard(Message[None]):
    """Nobody handles this."""


class Notebook(LoopActor):
    """Writes down what it is told and what happens to it."""

    def __init__(self, key: Any = None, on_start_error: BaseException | None = None) -> None:
        super().__init__()
        self.notes: list[Any] = []
        self.events: list[str] = []
        self.on_start_error = on_start_error
        self.on_stop_error: Exception | None = None

    def on_start(self) -> Any:
        self.events.append("start")
        if self.on_start_error is not None:
            raise self.on_start_error

    def on_stop(self) -> Any:
        self.events.append("stop")
        if self.on_stop_error is not None:
            raise self.on_stop_error

    def on_failure(self, *_exc_info: object) -> Any:
        self.events.append("failure")

    @handles(Note)
    def note(self, message: Note) -> int:
        self.notes.append(message.value)
        return len(self.notes)

    @handles(Recall)
    async def recall(self, _message: Recall) -> list[Any]:
        return list(self.notes)

    @handles(Fail)
    def fail(self, message: Fail) -> None:
        raise message.error

    @handles(Run)
    async def run(self, message: Run) -> Any:
        return await message.work()

    @handles(Call)
    def call(self, message: Call) -> Any:
        return message.function(self)


def actor_of(ref: LoopActorRef[ActorT]) -> ActorT:
    """Return the actor behind ``ref``, to look at what its messages do not show."""
    actor: ActorT | None = ref._actor_weakref()
    assert actor is not None
    return actor


class Gate:
    """A place where a handler waits until the test opens it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()

    async def pass_through(self) -> str:
        """Wait here; the coroutine to give to :class:`Run`."""
        self.reached.set()
        await self._open.wait()
        return "through"

    def open(self) -> None:
        """Let all through who wait."""
        self._open.set()
