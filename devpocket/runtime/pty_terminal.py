"""A pseudo-terminal on the event loop: the server's end of one attached tmux client."""

import asyncio
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from devpocket.domain.terminals import TerminalSize, character_end
from devpocket.runtime.child import Child, read_output
from devpocket.runtime.errors import DriverError

READ_BYTES = 64 * 1024
"""The most that one read gives back."""
TYPED_BYTES = 2048
"""What is typed in one go: the kernel puts so much into an empty pty at once, and cuts more than that anywhere."""
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.001, 0.05
_TIOCGPTPEER = 0x5441
"""Opens the other side of a pty, whatever is mounted (ioctl_tty(2)); termios does not name it."""
PREFACE_BYTES = 2 * 1024 * 1024
"""The most that is taken of a preface; what is over is cut off."""
FIRST_OUTPUT_S = 10.0
PREFACE_S = 5.0
_END_STEPS = ((0, 2.0), (signal.SIGTERM, 1.0), (signal.SIGKILL, 2.0))
"""After the hangup: a signal, and the seconds that it is given."""

_AddWatch = Callable[[int, Callable[[], None]], object]
_Process = subprocess.Popen[bytes]


class PtyTerminal:
    """A process on a pseudo-terminal of its own; fulfils the runtime port's ``Terminal``.

    Output waits in the kernel's buffer (tens of KiB) until somebody reads: a client that stops reading stops its own
    process and nothing else. No threads: everything happens on the loop that opened it.
    """

    def __init__(
        self, argv: Sequence[str], size: TerminalSize | None, env: Mapping[str, str] | None, pass_fds: Sequence[int]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiters: set[asyncio.Future[None]] = set()
        self._turn = asyncio.Lock()
        self._preface = b""
        self._hung_up = False
        self._closing: asyncio.Task[bool] | None = None
        self._master, slave = os.openpty()
        try:
            os.set_blocking(self._master, False)
            if size is not None:
                _set_size(self._master, size)
            self._child = Child(_spawn(argv, slave, env, pass_fds), self._wake)
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)

    @classmethod
    async def open(
        cls,
        argv: Sequence[str],
        size: TerminalSize | None,
        *,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        preface_argv: Sequence[str] | None = None,
    ) -> Self:
        """Start ``argv`` on a new pseudo-terminal and return once it has drawn something, or has ended.

        Without a ``size`` the terminal has none (0 by 0) until ``argv`` or :meth:`resize` sets one.
        ``env`` is its whole environment (None: this process'), ``pass_fds`` stay open in it. ``preface_argv`` is run
        after the first output; what it prints is read before that, and scrolled out of sight so that the live screen
        does not overwrite it. Raises DriverError when nothing was drawn for 10 s. Cancelling ends the process.
        """
        terminal = cls(argv, size, env, pass_fds)
        try:
            await terminal._wait_for_first_output()
            if preface_argv is not None:
                printed = await read_output(
                    preface_argv, limit_bytes=PREFACE_BYTES, deadline_s=PREFACE_S, env=env, pass_fds=pass_fds
                )
                terminal._preface = _scrolled_away(printed, terminal._rows())
        except BaseException:
            await terminal.close()
            raise
        return terminal

    async def read(self) -> bytes:
        """Return the next output, 1 byte to 64 KiB; ``b""`` after the end. Cancelling loses nothing. For one reader."""
        if self._preface:
            data, self._preface = self._preface[:READ_BYTES], self._preface[READ_BYTES:]
            return data
        while self._closing is None:
            data, at_end = self._drain()
            if data or at_end:
                return data
            await self._wait(self._loop.add_reader, self._loop.remove_reader)
        return b""

    async def write(self, data: bytes) -> None:
        """Type ``data``; returns once the pty has taken it all. Raises ConnectionError after the end.

        Goes in pieces of whole characters, each when the one before has been read: tmux forgets the beginning of a
        character of which the rest comes late (``escape-time``), and on a busy machine it does.

        Writers take turns. Cancelling may leave a part typed.
        """
        rest = memoryview(data)
        async with self._turn:
            while rest:
                end = character_end(rest, TYPED_BYTES)
                await self._until_read()
                await self._put(rest[:end])
                rest = rest[end:]

    async def _until_read(self) -> None:
        """Return when nothing that was typed waits to be read; nobody tells of that, so look again and again."""
        pause_s = _FIRST_LOOK_S
        while self._is_unread():
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_LOOK_S)

    def _is_unread(self) -> bool:
        self._check_open()
        try:
            # Kept open it would hide the end of whoever else has it open.
            other_side = fcntl.ioctl(self._master, _TIOCGPTPEER, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise ConnectionError("the terminal has ended") from error
        try:
            readable = select.poll()
            readable.register(other_side, select.POLLIN)
            return any(events & select.POLLIN for _, events in readable.poll(0))
        finally:
            os.close(other_side)

    async def _put(self, piece: memoryview) -> None:
        while piece:
            self._check_open()
            try:
                piece = piece[os.write(self._master, piece) :]
            except BlockingIOError:
                await self._wait(self._loop.add_writer, self._loop.remove_writer)
            except OSError as error:
                raise ConnectionError("the terminal has ended") from error

    def _check_open(self) -> None:
        if self._hung_up or self._closing is not None or self._child.has_ended:
            raise ConnectionError("the terminal has ended")

    async def resize(self, size: TerminalSize) -> None:
        """Set the size; the process gets SIGWINCH. Nothing happens after the end."""
        if self._closing is None:
            _set_size(self._master, size)

    async def close(self) -> None:
        """Hang up; the process and its group are gone when it returns, 5 s at the worst.

        May be called again and at the same time. Cancelling does not stop the closing, only the waiting for it.
        """
        if self._closing is None:
            self._loop.remove_reader(self._master)
            self._loop.remove_writer(self._master)
            os.close(self._master)
            self._closing = self._loop.create_task(self._child.end(_END_STEPS))
            self._wake()
        await asyncio.shield(self._closing)

    async def _wait_for_first_output(self) -> None:
        try:
            async with asyncio.timeout(FIRST_OUTPUT_S):
                await self._wait(self._loop.add_reader, self._loop.remove_reader)
        except TimeoutError as error:
            raise DriverError("The terminal of this environment does not answer.") from error

    def _drain(self) -> tuple[bytes, bool]:
        """Return what the pty holds, at most 64 KiB, and whether nothing can come any more."""
        chunks: list[bytes] = []
        room = READ_BYTES
        while room:
            try:
                chunk = os.read(self._master, room)
            except BlockingIOError:
                # Something outside of the group may hold the other side open for ever.
                return b"".join(chunks), self._child.has_ended
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                # Nobody has the other side open (pty(7)), though the process may take a moment to be gone.
                self._hung_up = True
                return b"".join(chunks), True
            chunks.append(chunk)
            room -= len(chunk)
        return b"".join(chunks), False

    async def _wait(self, add: _AddWatch, remove: Callable[[int], object]) -> None:
        """Return when the master is ready, the process has ended or the terminal is closed."""
        waiter = self._loop.create_future()
        self._waiters.add(waiter)
        add(self._master, self._wake)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if self._closing is None:
                remove(self._master)

    def _rows(self) -> int:
        return os.get_terminal_size(self._master).lines

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


def _spawn(argv: Sequence[str], slave: int, env: Mapping[str, str] | None, pass_fds: Sequence[int]) -> _Process:
    # setsid(1) takes the terminal after the exec; doing it in between (preexec_fn) is unsafe where there are threads.
    return subprocess.Popen(
        ["setsid", "--ctty", *argv], stdin=slave, stdout=slave, stderr=slave, env=env, pass_fds=pass_fds
    )


def _set_size(descriptor: int, size: TerminalSize) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))


def _scrolled_away(history: bytes, rows: int) -> bytes:
    """Return lines as terminal output that leaves the last of them just above the screen, which is then drawn anew."""
    if not history:
        return b""
    lines = history.removesuffix(b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")
    # From any row, rows - 1 feeds after the last line scroll exactly that line out, and no empty one.
    return b"\x1b[0m\r" + lines + b"\x1b[0m\r\n" + b"\n" * (rows - 1)
