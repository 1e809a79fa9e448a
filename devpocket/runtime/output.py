"""The output of a process, through a pipe that is surely closed here, whoever holds the other end."""

import asyncio
import os
from types import TracebackType

_READ_BYTES = 64 * 1024


class OutputPipe:
    """A pipe to give to a process as its stdout.

    asyncio's own pipes stay open until the other end is closed everywhere, or until they are read to their end: neither
    is sure of a process that was killed, and may have left something running.
    """

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reader, False)
        self._open = {self._reader, self.writer}

    def __enter__(self) -> "OutputPipe":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()

    def close_writer(self) -> None:
        """Close the end that the process has a copy of, so that its end is seen here."""
        self._open.discard(self.writer)
        os.close(self.writer)

    async def read(self, limit_bytes: int = _READ_BYTES) -> bytes:
        """Return what comes next, at most 64 KiB; ``b""`` at the end. Cancelling loses nothing."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._reader, min(limit_bytes, _READ_BYTES))
            except BlockingIOError:
                readable = loop.create_future()
                loop.add_reader(self._reader, _wake, readable)
                try:
                    await readable
                finally:
                    loop.remove_reader(self._reader)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
