"""Events that wait for the network: bounded in bytes, the oldest give way."""

import asyncio
import itertools
from collections import deque

MAX_OUTBOX_BYTES = 8 * 1024 * 1024


class Outbox:
    """A queue of encoded events; what overflows is remembered, so that the others can be told to catch up."""

    def __init__(self, limit_bytes: int = MAX_OUTBOX_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, encoded: bytes) -> None:
        """Add an event; the oldest are dropped until it fits."""
        self._waiting.append(encoded)
        self._bytes += len(encoded)
        while self._bytes > self._limit_bytes and len(self._waiting) > 1:
            self._bytes -= len(self._waiting.popleft())
            self.overflowed = True
        self._filled.set()

    async def first(self, count: int) -> list[bytes]:
        """Wait for events and return the first of them, without removing them. Cancelling is safe."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return list(itertools.islice(self._waiting, count))

    def waiting(self) -> list[bytes]:
        """Return everything that waits."""
        return list(self._waiting)

    def remove(self, sent: list[bytes]) -> None:
        """Take ``sent`` out, or what an overflow has left of it."""
        for event in sent:
            if self._waiting and self._waiting[0] is event:
                self._bytes -= len(self._waiting.popleft())
