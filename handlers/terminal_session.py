"""One client at one environment's terminal: attaches, prints, types, and attaches again after a restart.

Knows neither Tornado nor actors; :class:`Link` is what it is given of both. Nothing is read from the terminal while
the client has not taken what was read before, so memory is bounded by one frame and one queue of input.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from devpocket.domain.environments import Environment, EnvironmentStatus
from devpocket.domain.limits import BucketRule, TokenBucket, charge
from devpocket.domain.terminals import TerminalSize, Utf8Splitter
from devpocket.errors import DevPocketError, InvalidStateError, NotFoundError, UnavailableError
from devpocket.runtime.port import Terminal
from handlers.input_queue import InputQueue

GATHER_S = 0.004
"""Output that follows a frame within this time is gathered for as long; the first of a burst goes out at once."""
FRAME_BYTES = 64 * 1024
TYPED_BYTES = 4096
"""What is typed at once; the kernel's own queue is as long."""
LOOK_AGAIN_S = 20.0
"""Announcements may be lost: so often a waiting session looks for itself whether the environment runs."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
STEADY_S = 2.0
"""An attachment that lasted so long was a good one; shorter ones are followed by growing pauses."""
CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""Empties screen and scrollback (ECMA-48, xterm), because the next attachment sends the history once more."""


class Link(Protocol):
    """What a session needs of the world."""

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message to the client and return when the kernel has taken it."""
        ...

    async def attach_terminal(self, size: TerminalSize | None) -> Terminal:
        """Attach a tmux client; InvalidStateError, DriverError or UnavailableError when it cannot be done now."""
        ...

    async def release_terminal(self, terminal: Terminal) -> None:
        """Let go of the tmux client; never raises."""
        ...

    async def look(self) -> Environment:
        """Return the environment as it is now; NotFoundError when it is gone."""
        ...

    def note_typing(self, amount_bytes: int) -> None:
        """Somebody has typed."""
        ...

    def note_printing(self, amount_bytes: int) -> None:
        """Something was printed."""
        ...

    def note_slowing(self) -> None:
        """What is typed comes faster than it is taken."""
        ...


class TerminalSession:
    """From admission to the end of the socket."""

    def __init__(self, link: Link, environment: Environment, rule: BucketRule) -> None:
        self._link = link
        self._environment = environment
        self._rule = rule
        self._bucket: TokenBucket | None = None
        self._input = InputQueue()
        self._size: TerminalSize | None = None
        self._terminal: Terminal | None = None
        self._changed = asyncio.Event()
        self._is_refused = False

    # --- what the client does ----------------------------------------------------------------------------------------

    async def type(self, data: bytes) -> None:
        """Take ``data`` in order, waiting while too much of it has not reached the terminal."""
        if self._terminal is None and not self._runs():
            await self._refuse_input()
            return
        await self._input.put(data)

    async def resize(self, size: TerminalSize) -> None:
        """Set the size, now and for later attachments."""
        self._size = size
        if self._terminal is not None:
            await self._terminal.resize(size)

    def environment_changed(self) -> None:
        """Something was announced: look at the environment if it is waited for."""
        self._changed.set()

    async def _refuse_input(self) -> None:
        """Say once that nobody listens: keys that are kept until the start would surprise their typist."""
        if not self._is_refused:
            self._is_refused = True
            await self._link.send({"type": "info", "message": "The environment does not run; nothing is typed."})

    # --- the session -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the terminal until cancelled; raises NotFoundError once the environment is gone."""
        try:
            await self._attach_again_and_again()
        finally:
            self._input.close()

    async def _attach_again_and_again(self) -> None:
        pause_s = 0.0
        # The first try is made whatever the state is: attaching is what wakes an environment that sleeps.
        terminal = await self._try_attach()
        while True:
            lasted_s = 0.0 if terminal is None else await self._serve(terminal)
            pause_s = 0.0 if lasted_s > STEADY_S else min(max(FIRST_PAUSE_S, pause_s * 2), LONGEST_PAUSE_S)
            await self._until_running()
            await asyncio.sleep(pause_s)
            if terminal is not None:
                await self._link.send({"type": "output", "data": CLEAR})
            terminal = await self._try_attach()

    def _runs(self) -> bool:
        return self._environment.status is EnvironmentStatus.RUNNING

    async def _try_attach(self) -> Terminal | None:
        try:
            return await self._link.attach_terminal(self._size)
        except NotFoundError:
            raise
        except DevPocketError as error:
            if not isinstance(error, InvalidStateError) or self._runs():
                await self._link.send({"type": "info", "message": error.public})
            return None

    async def _until_running(self) -> None:
        """Wait until the environment runs and is meant to."""
        while True:
            self._changed.clear()
            if await self._looks_running():
                self._is_refused = False
                return
            self._input.clear()
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _looks_running(self) -> bool:
        try:
            self._environment = await self._link.look()
        except UnavailableError:
            return False  # the store is away for a moment; the next look tells
        return self._runs()

    async def _serve(self, terminal: Terminal) -> float:
        """Print and type until the tmux client ends; return how long that took, in seconds."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._terminal = terminal
        printing, typing = asyncio.create_task(self._print(terminal)), asyncio.create_task(self._type(terminal))
        try:
            if self._size is not None:
                await terminal.resize(self._size)
            await asyncio.wait([printing, typing], return_when=asyncio.FIRST_COMPLETED)
            await self._last_words(printing)
        finally:
            self._terminal = None
            for task in (printing, typing):
                task.cancel()
            await asyncio.gather(printing, typing, return_exceptions=True)
            await self._link.release_terminal(terminal)
        for task in (printing, typing):
            if not task.cancelled():
                task.result()
        return loop.time() - began_s

    async def _last_words(self, printing: "asyncio.Task[None]") -> None:
        """Typing may be the first to notice the end; what was printed before it is still to be read."""
        await asyncio.wait([printing], timeout=GATHER_S * 10)

    # --- the stream --------------------------------------------------------------------------------------------------

    async def _print(self, terminal: Terminal) -> None:
        """Send what the terminal prints, at once after a silence, gathered while it pours."""
        splitter, loop = Utf8Splitter(), asyncio.get_running_loop()
        sent_at_s = -GATHER_S
        while data := await terminal.read():
            if loop.time() - sent_at_s < GATHER_S and len(data) < FRAME_BYTES:
                data = await self._gather(terminal, data)
            for start in range(0, len(data), FRAME_BYTES):
                await self._send_output(splitter.feed(data[start : start + FRAME_BYTES]))
            self._link.note_printing(len(data))
            sent_at_s = loop.time()
        await self._send_output(splitter.flush())

    async def _gather(self, terminal: Terminal, data: bytes) -> bytes:
        """Return ``data`` with what follows within a few milliseconds, up to about a frame."""
        gathered = bytearray(data)
        try:
            async with asyncio.timeout(GATHER_S):
                while len(gathered) < FRAME_BYTES:
                    more = await terminal.read()
                    if not more:
                        break
                    gathered += more
        except TimeoutError:
            pass
        return bytes(gathered)

    async def _send_output(self, text: str) -> None:
        if text:
            await self._link.send({"type": "output", "data": text})

    async def _type(self, terminal: Terminal) -> None:
        """Type what comes in, no faster than the rule says; ends when the terminal has ended."""
        loop = asyncio.get_running_loop()
        while True:
            data = await self._input.take(TYPED_BYTES)
            try:
                await terminal.write(data)
            except ConnectionError:
                return
            self._link.note_typing(len(data))
            self._bucket, taken = charge(self._rule, self._bucket, loop.time(), len(data))
            if taken.retry_after_s:
                self._link.note_slowing()
                await asyncio.sleep(taken.retry_after_s)
