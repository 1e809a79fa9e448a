"""What was typed and has not reached the terminal yet: bounded in bytes, in order, never cut."""

import asyncio

from devpocket.domain.terminals import character_end

HIGH_BYTES = 1024 * 1024


class InputQueue:
    """A stream of UTF-8 between a writer and a reader; a writer waits while it is full.

    A single ``put`` is taken whole when less than ``high_bytes`` wait, so the bound is that and one message.
    """

    def __init__(self, high_bytes: int = HIGH_BYTES) -> None:
        self._high_bytes = high_bytes
        self._buffer = bytearray()
        self._is_closed = False
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._buffer)

    async def put(self, data: bytes) -> None:
        """Add ``data`` once there is room; cancelling adds nothing, nor does a queue that is closed."""
        while len(self._buffer) >= self._high_bytes and not self._is_closed:
            await self._change()
        if data and not self._is_closed:
            self._buffer += data
            self._changed.set()

    async def take(self, most_bytes: int) -> bytes:
        """Return 1 to ``most_bytes`` bytes, whole characters, waiting for them; cancelling loses nothing."""
        while not self._buffer:
            await self._change()
        end = character_end(self._buffer, most_bytes)
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._changed.set()
        return data

    def clear(self) -> None:
        """Forget what waits; a writer that waits goes on."""
        self._buffer.clear()
        self._changed.set()

    def close(self) -> None:
        """Forget what waits and all that comes: nobody will take it."""
        self._is_closed = True
        self.clear()

    async def _change(self) -> None:
        # Each waiter clears the event before it waits and looks again after it: none misses a change.
        self._changed.clear()
        await self._changed.wait()
