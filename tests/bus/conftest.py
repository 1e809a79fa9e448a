"""Fixtures: ``redis`` (one server for the session), ``sick_redis`` (one to break), ``buses`` (two processes' buses)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from devpocket.bus import Bus, MemoryBus
from devpocket.bus.redis import RedisBus
from devpocket.ids import ProcessId, new_id
from tests.redis_server import RedisServer, running_redis


async def eventually(condition: Callable[[], object], within_s: float = 10) -> None:
    """Wait until ``condition()`` is true; fails the test when it does not become so."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def redis_bus(
    server: RedisServer, *, beat_interval_s: float = 0.05, timeout_s: float = 1.0
) -> AsyncIterator[RedisBus]:
    """Give a started bus, as a process of its own has it; closed at the end."""
    bus = RedisBus(server.url, ProcessId(new_id()), beat_interval_s=beat_interval_s, timeout_s=timeout_s)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


@pytest.fixture(scope="session")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def sick_redis(tmp_path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as server:
        yield server


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return new_id()


@pytest.fixture(params=["memory", "redis"])
async def buses(request) -> AsyncIterator[tuple[Bus, Bus]]:
    """The buses of two processes; the memory bus has one process, so there both are the same."""
    if request.param == "memory":
        bus = MemoryBus()
        await bus.start()
        yield bus, bus
        await bus.close()
        return
    server = request.getfixturevalue("redis")
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(redis_bus(server)),
            await stack.enter_async_context(redis_bus(server)),
        )


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Whatever a bus starts, it stops."""
    before = asyncio.all_tasks()
    yield
    assert {task for task in asyncio.all_tasks() - before if task.get_name().startswith("redis bus")} == set()
