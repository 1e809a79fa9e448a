"""A small HTTP/1.1 client (RFC 9112) that costs little itself, and what is made of the times that it takes."""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

Request = tuple[str, str, Any]
"""Method, path and JSON body or None."""


class Connection:
    """One kept-alive connection of one signed-in user; one request at a time."""

    def __init__(self, url: str, token: str) -> None:
        self._host = urlsplit(url).netloc
        self._token = token
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        host, _, port = self._host.partition(":")
        self._streams = await asyncio.open_connection(host, int(port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._streams
        self._streams[1].close()
        await self._streams[1].wait_closed()

    async def ask(self, request: Request) -> bytes:
        """Return the body of the answer; raises RuntimeError for one that is not 2xx."""
        assert self._streams
        reader, writer = self._streams
        method, path, body = request
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} /api/v1{path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._token}\r\n"
        if content:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        writer.write(f"{head}\r\n".encode() + content)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        answer = await reader.readexactly(int(headers.get("content-length", "0")))
        if not lines[0].split()[1].startswith("2"):
            raise RuntimeError(f"{method} {path}: {lines[0]}: {answer[:200]!r}")
        return answer


@dataclass(frozen=True, slots=True)
class Figures:
    """What a number of requests took."""

    per_s: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, times_s: Sequence[float], took_s: float) -> "Figures":
        """Make them of the time of each request and of all together."""
        cuts = statistics.quantiles(times_s, n=100, method="inclusive")
        return cls(len(times_s) / took_s, statistics.median(times_s) * 1000, cuts[98] * 1000)

    def __str__(self) -> str:
        return f"{self.per_s:7.0f}/s   p50 {self.p50_ms:6.1f} ms   p99 {self.p99_ms:6.1f} ms"


async def measured(workers: Iterable[Callable[[], Awaitable[Sequence[float]]]]) -> Figures:
    """Run all workers at once, each of which returns the seconds that its requests took."""
    began_s = time.perf_counter()
    times_s = [each for found in await asyncio.gather(*(work() for work in workers)) for each in found]
    return Figures.of(times_s, time.perf_counter() - began_s)


async def timed(connection: Connection, requests: Iterable[Request]) -> list[float]:
    """Send the requests one after the other; return how long each took, in seconds."""
    times_s = []
    for request in requests:
        began_s = time.perf_counter()
        await connection.ask(request)
        times_s.append(time.perf_counter() - began_s)
    return times_s
