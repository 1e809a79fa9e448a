"""What was typed and has not reached the terminal yet: bounded in bytes, in order, never cut."""

import asyncio

HIGH_BYTES = 1024 * 1024


class InputQueue:
    """A stream of UTF-8 between one writer and one reader; a writer waits while it is full.

    A single ``put`` is taken whole when less than ``high_bytes`` wait, so the bound is that and one message.
    """

    def __init__(self, high_bytes: int = HIGH_BYTES) -> None:
        self._high_bytes = high_bytes
        self._buffer = bytearray()
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._buffer)

    async def put(self, data: bytes) -> None:
        """Add ``data`` once there is room; cancelling adds nothing."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._buffer) < self._high_bytes)
            self._buffer += data
            self._changed.notify_all()

    async def take(self, most_bytes: int) -> bytes:
        """Return 1 to ``most_bytes`` bytes, whole characters, waiting for them; cancelling loses nothing."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._buffer) > 0)
            end = _character_end(self._buffer, most_bytes)
            data = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._changed.notify_all()
            return data

    async def clear(self) -> None:
        """Forget what waits; writers that wait go on."""
        async with self._changed:
            self._buffer.clear()
            self._changed.notify_all()


def _character_end(buffer: bytearray, most_bytes: int) -> int:
    """Return the largest cut up to ``most_bytes`` (at least 4) that does not fall inside a character."""
    end = min(len(buffer), max(most_bytes, 4))
    while end < len(buffer) and buffer[end] & 0xC0 == 0x80:
        end -= 1
    return end
