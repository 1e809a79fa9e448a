"""All sockets of a process are told, closed and waited for."""

import asyncio

from handlers.socket_registry import SocketRegistry


class FakeSocket:
    """A socket that takes a while to give back what it holds."""

    def __init__(self, longest_s: float = 0.0) -> None:
        self.farewells: list[tuple[int, str, str, int]] = []
        self.closing = asyncio.Event()
        self.life: asyncio.Task[None] | None = asyncio.create_task(self._live(longest_s))

    async def _live(self, longest_s: float) -> None:
        await self.closing.wait()
        await asyncio.sleep(longest_s)

    def say_goodbye(self, code: int, reason: str, message: str, retry_after_s: int) -> None:
        self.farewells.append((code, reason, message, retry_after_s))
        self.closing.set()


async def test_all_are_told_once_and_waited_for() -> None:
    registry, sockets = SocketRegistry(), [FakeSocket() for _ in range(3)]
    for socket in sockets:
        registry.add(socket)
    await registry.close_all(1001, "Server restarts", "Come back.", retry_after_s=3)
    assert [socket.farewells for socket in sockets] == [[(1001, "Server restarts", "Come back.", 3)]] * 3
    assert all(socket.life is not None and socket.life.done() for socket in sockets)


async def test_one_that_hangs_holds_nobody_up_beyond_the_deadline() -> None:
    registry, socket = SocketRegistry(), FakeSocket(longest_s=60)
    registry.add(socket)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await registry.close_all(1001, "", "", deadline_s=0.05)
    assert loop.time() - began_s < 5
    assert socket.life is not None
    socket.life.cancel()
    await asyncio.gather(socket.life, return_exceptions=True)


async def test_forgotten_sockets_are_left_alone_and_late_work_is_waited_for() -> None:
    registry, socket, done = SocketRegistry(), FakeSocket(), asyncio.Event()

    async def late() -> None:
        await asyncio.sleep(0)
        done.set()

    registry.add(socket)
    registry.discard(socket)
    registry.discard(socket)
    registry.finish(late())
    assert len(registry) == 0
    await registry.close_all(1001, "", "")
    assert socket.farewells == []
    assert done.is_set()
    socket.closing.set()
    assert socket.life is not None
    await socket.life


async def test_an_empty_registry_closes_at_once() -> None:
    await SocketRegistry().close_all(1001, "", "")
