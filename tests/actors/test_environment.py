"""The actor of one environment under a load that cannot be caused from outside."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from actors import drive, environment
from actors.directory import Directory
from actors.environment import EnvironmentActor
from actors.environment_messages import DriveEnvironment, OperationEnded
from actors.journal import Journal
from actors.loop import InboxFullError, Message
from actors.ports import Ports
from actors.samples import Samples
from devpocket.bus.memory import MemoryBus
from devpocket.ids import EnvironmentId, ProcessId
from devpocket.metrics import Metrics
from devpocket.runtime.port import ContainerState
from devpocket.settings import load_settings
from devpocket.settings.plans import load_plans
from devpocket.store.environments import EnvironmentRecords
from devpocket.store.sqlite.store import SqliteStore
from tests.auth.clocks import SetClock
from tests.handlers import fakes

RUNNING = fakes.environment()


class Observed:
    """A runtime in which everything runs; counts how often somebody looks."""

    def __init__(self) -> None:
        self.looks = 0
        self.may_look = asyncio.Event()
        self.may_look.set()

    async def observe(self, _environment_id: str) -> ContainerState:
        self.looks += 1
        await self.may_look.wait()
        return ContainerState.RUNNING

    async def usage(self, _environment_id: str) -> None:
        return None


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the condition is somebody else's state
            await asyncio.sleep(0.001)


@pytest.fixture
async def ports(tmp_path: Path) -> AsyncIterator[Ports]:
    clock = SetClock()
    settings = load_settings(environ={"DATA_DIR": str(tmp_path)}, dotenv=None)
    store = SqliteStore(tmp_path / "devpocket.db", clock)
    await store.start()
    runtime = cast("object", Observed())
    plans = load_plans(settings.server.plans_file)
    made = SimpleNamespace(
        settings=settings, clock=clock, store=store, bus=MemoryBus(), runtime=runtime, metrics=Metrics(), plans=plans
    )
    made.process_id = ProcessId("p")
    yield cast("Ports", made)
    await store.close()


async def test_an_environment_that_was_overrun_is_looked_after_again(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "TICK_S", 0.01)
    monkeypatch.setattr(drive, "TELL_AGAIN_S", 0.01)
    await EnvironmentRecords(ports.store).insert(replace(RUNNING, phase_since_at=ports.clock.now()))
    actors: list[EnvironmentActor] = []

    def make(key: EnvironmentId) -> EnvironmentActor:
        actors.append(EnvironmentActor(key, ports, Journal(ports), Samples(ports.store, ports.clock, 1.0)))
        return actors[-1]

    directory: Directory[EnvironmentId] = Directory(make)
    runtime = cast("Observed", ports.runtime)
    directory.tell(RUNNING.id, DriveEnvironment(is_abandoned=True))
    await until(lambda: runtime.looks > 2)
    runtime.may_look.clear()
    looks = runtime.looks
    await until(lambda: runtime.looks > looks)  # one is under way
    refused: list[OperationEnded] = []
    tell_self = actors[0].tell_self

    def refuse(message: Message[None]) -> None:
        if not isinstance(message, OperationEnded):
            return tell_self(message)
        refused.append(message)
        raise InboxFullError(actors[0].label, 2000)

    monkeypatch.setattr(actors[0], "tell_self", refuse)
    runtime.may_look.set()
    await until(lambda: len(refused) > 1)
    monkeypatch.delattr(actors[0], "tell_self")
    looks = runtime.looks
    await until(lambda: runtime.looks > looks + 2)
    await directory.stop_all(5.0)
