"""All sockets of a process are told, detached and disconnected, in this order."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from handlers.socket_registry import SocketRegistry

FAREWELL = (1001, "Server restarts", "Come back.", 3)


class FakeSocket:
    """A socket that takes a while to give back what it holds, and whose client may not answer."""

    def __init__(self, registry: SocketRegistry, *, longest_s: float = 0.0, answers: bool = True) -> None:
        self._registry = registry
        self._answers = answers
        self.farewells: list[tuple[int, str, str, int]] = []
        self.is_cut = False
        self.closing = asyncio.Event()
        self.life: asyncio.Task[None] | None = asyncio.create_task(self._live(longest_s))
        registry.add(self)

    async def _live(self, longest_s: float) -> None:
        await self.closing.wait()
        await self._registry.may_detach()
        await asyncio.sleep(longest_s)

    def say_goodbye(self, code: int, reason: str, message: str, retry_after_s: int) -> None:
        self.farewells.append((code, reason, message, retry_after_s))
        self.closing.set()
        if self._answers:
            self._registry.disconnected(self)

    def cut(self) -> None:
        self.is_cut = True
        self._registry.disconnected(self)

    @property
    def is_detached(self) -> bool:
        return self.life is not None and self.life.done()


@pytest.fixture
async def registry() -> AsyncIterator[SocketRegistry]:
    yield SocketRegistry()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def test_all_are_told_once_and_detach_when_they_may(registry: SocketRegistry) -> None:
    sockets = [FakeSocket(registry) for _ in range(3)]
    assert not registry.is_closing
    registry.tell_all(*FAREWELL[:3], retry_after_s=3)
    assert [socket.farewells for socket in sockets] == [[FAREWELL]] * 3
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(socket.is_detached for socket in sockets)
    await registry.detach_all(5)
    assert all(socket.is_detached for socket in sockets)
    assert await registry.disconnect_all(5) == 0


async def test_one_that_comes_too_late_is_told_at_once(registry: SocketRegistry) -> None:
    registry.tell_all(*FAREWELL[:3], retry_after_s=3)
    assert registry.is_closing
    socket = FakeSocket(registry)
    assert socket.farewells == [FAREWELL]
    await registry.detach_all(5)
    assert socket.is_detached


async def test_one_that_hangs_holds_nobody_up_beyond_the_deadline(registry: SocketRegistry) -> None:
    hanging, other = FakeSocket(registry, longest_s=60), FakeSocket(registry)
    registry.tell_all(*FAREWELL[:3])
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await registry.detach_all(0.05)
    assert loop.time() - began_s < 5
    assert other.is_detached
    assert not hanging.is_detached


async def test_clients_that_do_not_listen_are_cut(registry: SocketRegistry) -> None:
    deaf, other = FakeSocket(registry, answers=False), FakeSocket(registry)
    registry.tell_all(*FAREWELL[:3])
    assert await registry.disconnect_all(0.05) == 1
    assert (deaf.is_cut, other.is_cut) == (True, False)
    assert await registry.disconnect_all(60) == 0


async def test_forgotten_sockets_are_left_alone(registry: SocketRegistry) -> None:
    socket = FakeSocket(registry)
    registry.discard(socket)
    registry.discard(socket)
    registry.disconnected(socket)
    assert len(registry) == 0
    registry.tell_all(*FAREWELL[:3])
    await registry.detach_all(5)
    assert socket.farewells == []


async def test_an_empty_registry_closes_at_once(registry: SocketRegistry) -> None:
    registry.tell_all(*FAREWELL[:3])
    await registry.detach_all(60)
    assert await registry.disconnect_all(60) == 0
