"""What the server and a sandbox that is coming up say: "up", then a word that lets it go on, then "ready"."""

import asyncio
import json
import os
from types import TracebackType

from devpocket.runtime.local.identity import ProcessIdentity

_LINE_BYTES = 4096


class Handshake:
    """Both ends of two pipes, and a file for what bubblewrap tells. The far ends are closed here once handed over.

    Not a third pipe: a bubblewrap that cannot tell, because the server was killed, leaves its child waiting for ever.
    """

    def __init__(self) -> None:
        self.stdin_end, self._stdin = os.pipe2(os.O_CLOEXEC)
        self._stdout, self.stdout_end = os.pipe2(os.O_CLOEXEC)
        self.info = os.memfd_create("sandbox", os.MFD_CLOEXEC)
        self._open = {self.stdin_end, self._stdin, self._stdout, self.stdout_end, self.info}
        os.set_blocking(self._stdout, False)

    def __enter__(self) -> "Handshake":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every end that is still open here."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()

    def close_far_ends(self) -> None:
        """Close what the new process has copies of, so that its end is seen here."""
        for descriptor in (self.stdin_end, self.stdout_end):
            os.close(descriptor)
            self._open.discard(descriptor)

    def read_init(self) -> ProcessIdentity:
        """Return the first process of the sandbox, which is up; ValueError when bubblewrap has not told of it."""
        return ProcessIdentity.of(int(json.loads(os.pread(self.info, _LINE_BYTES, 0))["child-pid"]))

    async def expect(self, line: bytes) -> None:
        """Wait until the first process says ``line``; ValueError when it says something else or has ended."""
        said = b""
        while len(said) < len(line) and (data := await self._read()):
            said += data
        if said != line:
            raise ValueError(f"said {said!r} instead of {line!r}")

    def go(self) -> None:
        """Let the sandbox go on; without this word it ends when this process does."""
        os.write(self._stdin, b"go\n")

    async def _read(self) -> bytes:
        """Return what comes next, ``b""`` at the end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._stdout, _LINE_BYTES)
            except BlockingIOError:
                readable = loop.create_future()
                loop.add_reader(self._stdout, _set, readable)
                try:
                    await readable
                finally:
                    loop.remove_reader(self._stdout)


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
