"""The pipes between the server and a sandbox that is coming up: "up", then a word that lets it go on, then "ready"."""

import asyncio
import contextlib
import json
import os
from types import TracebackType

from devpocket.runtime.local.identity import ProcessIdentity

_LINE_BYTES = 4096


class Handshake:
    """Both ends of three pipes. The far ends are handed to the new process, then closed here."""

    def __init__(self) -> None:
        self.stdin_end, self._stdin = os.pipe2(os.O_CLOEXEC)
        self._stdout, self.stdout_end = os.pipe2(os.O_CLOEXEC)
        self._info, self.info_end = os.pipe2(os.O_CLOEXEC)
        self._open = {self.stdin_end, self._stdin, self._stdout, self.stdout_end, self._info, self.info_end}
        for descriptor in (self._stdout, self._info):
            os.set_blocking(descriptor, False)

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
        for descriptor in (self.stdin_end, self.stdout_end, self.info_end):
            os.close(descriptor)
            self._open.discard(descriptor)

    async def read_init(self) -> ProcessIdentity:
        """Return the first process of the sandbox, as bubblewrap tells it; ValueError when it tells nothing."""
        text = b""
        while data := await self._read(self._info):
            text += data
            with contextlib.suppress(json.JSONDecodeError):
                return ProcessIdentity.of(int(json.loads(text)["child-pid"]))
        raise ValueError("no sandbox came up")

    async def expect(self, line: bytes) -> None:
        """Wait until the first process says ``line``; ValueError when it says something else or has ended."""
        said = b""
        while len(said) < len(line) and (data := await self._read(self._stdout)):
            said += data
        if said != line:
            raise ValueError(f"said {said!r} instead of {line!r}")

    def go(self) -> None:
        """Let the sandbox go on; without this word it ends when this process does."""
        os.write(self._stdin, b"go\n")

    async def _read(self, descriptor: int) -> bytes:
        """Return what comes next, ``b""`` at the end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(descriptor, _LINE_BYTES)
            except BlockingIOError:
                readable = loop.create_future()
                loop.add_reader(descriptor, _set, readable)
                try:
                    await readable
                finally:
                    loop.remove_reader(descriptor)


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
