"""A TCP relay in front of a server: it can be cut, stalled, pointed elsewhere, or lose an answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager


async def _nothing() -> None:
    """Happens before an answer is lost."""


class Relay:
    """Listens on ``port`` and passes bytes on to ``target``, the port of a server on this machine."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.lost_answers = 0
        self._marker: bytes | None = None
        self._first: Callable[[], Awaitable[None]] = _nothing
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def running(cls, target: int) -> "AsyncIterator[Relay]":
        """Run a relay for the time of a ``with`` block."""
        relay = cls(target)
        await relay.restore()
        try:
            yield relay
        finally:
            await relay.cut()

    def lose_answer_to(self, marker: bytes, first: Callable[[], Awaitable[None]] = _nothing) -> None:
        """Break the connection, once, when the server answers a request that contains ``marker``, after ``first``."""
        self._marker, self._first = marker, first

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Pass nothing on for the time of a ``with`` block: connections stay open, and nothing is lost."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    async def cut(self) -> None:
        """Break all connections and refuse new ones."""
        self._flowing.set()
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()
        if self._serving:
            await asyncio.wait(self._serving)

    async def restore(self) -> None:
        """Accept connections (again), on the same port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            upstream, upstream_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(upstream_writer)
        asked: list[bytes] = []
        both = (writer, upstream_writer)
        requests = asyncio.create_task(self._pass_on(reader, upstream_writer, asked, both))
        await self._pass_on(upstream, writer, asked, both, answers=True)
        await requests

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asked: list[bytes],
        both: tuple[asyncio.StreamWriter, ...],
        *,
        answers: bool = False,
    ) -> None:
        try:
            while data := await reader.read(65536):
                if answers and self._marker is not None and any(self._marker in request for request in asked):
                    self._marker = None
                    self.lost_answers += 1
                    await self._first()
                    break
                asked[:] = [] if answers else [data]
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            return  # cut; the other direction ends as well
        finally:
            for each in both:
                each.transport.abort()
                self._writers.discard(each)
