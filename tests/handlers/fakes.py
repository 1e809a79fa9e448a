"""A terminal and a client for the terminal session: what cannot be caused with real ones at the right moment."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from devpocket.domain.environments import DesiredState, Environment, EnvironmentPhase, ResourceLimits
from devpocket.domain.terminals import TerminalSize
from devpocket.errors import DevPocketError, InvalidStateError, NotFoundError
from devpocket.ids import EnvironmentId, TemplateId, UserId

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def environment(phase: EnvironmentPhase = EnvironmentPhase.RUNNING, **changes: Any) -> Environment:
    """Return an environment that is wanted to be what it is."""
    stopped = phase in (EnvironmentPhase.STOPPED, EnvironmentPhase.STOPPING)
    made = Environment(
        id=EnvironmentId("e" * 24),
        user_id=UserId("u" * 24),
        name="My Awesome Project",
        template_id=TemplateId("t" * 24),
        template_name="ubuntu",
        image="ubuntu:22.04",
        limits=ResourceLimits("500m", "1Gi", "10Gi"),
        created_at=NOW,
        updated_at=NOW,
        phase_since_at=NOW,
        phase=phase,
        booted=1,
        attempted=1,
        desired=DesiredState.STOPPED if stopped else DesiredState.RUNNING,
    )
    return replace(made, **changes)


class FakeTerminal:
    """Prints what a test tells it to, keeps what is typed."""

    def __init__(self, size: TerminalSize | None) -> None:
        self.output: asyncio.Queue[bytes] = asyncio.Queue()
        self.typed = bytearray()
        self.sizes = [size]
        self.reads = 0
        self.takes_input = asyncio.Event()
        self.takes_input.set()
        self.is_closed = False

    async def read(self) -> bytes:
        data = await self.output.get()
        self.reads += 1
        return data

    async def write(self, data: bytes) -> None:
        await self.takes_input.wait()
        if self.is_closed:
            raise ConnectionError("the terminal has ended")
        self.typed += data

    async def resize(self, size: TerminalSize) -> None:
        self.sizes.append(size)

    async def close(self) -> None:
        self.is_closed = True

    def end(self) -> None:
        """The tmux client ends."""
        self.output.put_nowait(b"")


class FakeLink:
    """A client that reads while ``reads`` is set, and an environment that can be attached to."""

    def __init__(self, phase: EnvironmentPhase = EnvironmentPhase.RUNNING) -> None:
        self.environment: Environment | None = environment(phase)
        self.sent: list[Mapping[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.terminals: list[FakeTerminal] = []
        self.released: list[FakeTerminal] = []
        self.refusals: list[DevPocketError] = []
        self.attempts = 0
        self.looks = 0
        self.slowed = 0
        self.happened = asyncio.Condition()

    async def note(self) -> None:
        async with self.happened:
            self.happened.notify_all()

    async def send(self, message: Mapping[str, Any]) -> None:
        await self.reads.wait()
        self.sent.append(message)
        await self.note()

    async def attach_terminal(self, size: TerminalSize | None) -> FakeTerminal:
        self.attempts += 1
        await self.note()
        if self.environment is None:
            raise NotFoundError("There is no such environment.")
        if self.refusals:
            raise self.refusals.pop(0)
        if self.environment.phase is not EnvironmentPhase.RUNNING:
            raise InvalidStateError("The environment does not run.")
        terminal = FakeTerminal(size)
        self.terminals.append(terminal)
        await self.note()
        return terminal

    async def release_terminal(self, terminal: Any) -> None:
        await terminal.close()
        self.released.append(terminal)
        await self.note()

    async def look(self) -> Environment:
        self.looks += 1
        await self.note()
        if self.environment is None:
            raise NotFoundError("There is no such environment.")
        return self.environment

    def note_typing(self, amount_bytes: int) -> None:
        """Nothing is counted here."""

    def note_printing(self, amount_bytes: int) -> None:
        """Nothing is counted here."""

    def note_slowing(self) -> None:
        self.slowed += 1

    @property
    def printed(self) -> str:
        return "".join(message["data"] for message in self.sent if message["type"] == "output")

    def said(self, kind: str) -> list[str]:
        return [message["message"] for message in self.sent if message["type"] == kind]
