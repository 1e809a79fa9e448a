"""The app's sockets: one message a key, no reconnecting, and mostly no goodbye."""

import asyncio
import json
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.phone.parsers import ParseError, boolean, moment, nullable, number, object_of, parse, text

Message = dict[str, Any]
Found = TypeVar("Found")
PATIENCE_S = 20.0
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()*+][A-Za-z0-9]|[ -/]*[0-~])")
_ENVIRONMENT = object_of(
    {
        "id": text,
        "name": text,
        "template": text,
        "status": text,
        "installation_completed": boolean,
        "pty_enabled": boolean,
    }
)
TERMINAL_MESSAGES = {
    "welcome": object_of({"message": text, "environment": _ENVIRONMENT}),
    "output": object_of({"data": text}),
    "error": object_of({"message": text}),
    "pong": object_of({}),
    "ping": object_of({}),
    "info": object_of({"message": text}),
    "status_update": object_of(
        {"environment_id": text, "status": text, "message": text, "progress": nullable(number), "timestamp": moment}
    ),
}
LOG_MESSAGES = {
    "welcome": object_of({"message": text}),
    "pong": object_of({}),
    "ping": object_of({}),
    "installation_log": object_of({"environment_id": text, "data": text, "timestamp": moment}),
    "installation_status": object_of({"environment_id": text, "status": text, "message": text}),
    "installation_complete": object_of({"environment_id": text, "status": text}),
    "installation_error": object_of({"environment_id": text, "error": text}),
    "log": object_of({"timestamp": moment, "level": text, "message": text, "source": text}),
}


class PhoneSocket:
    """One WebSocket: collects what comes, as it comes; ``async with`` connects and, if still open, cuts.

    ``problem`` is set when the server sent what the app cannot read; every waiting method raises it.
    """

    known_messages = LOG_MESSAGES

    def __init__(self, url: str) -> None:
        self.url = url
        self.messages: list[Message] = []
        self.problem: ParseError | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self._news = asyncio.Condition()
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def connection(self) -> ClientConnection:
        assert self._connection, "not connected"
        return self._connection

    async def __aenter__(self) -> Self:
        # No Origin, no subprotocol, no protocol pings: dart:io's defaults.
        self._connection = await connect(
            self.url, ping_interval=None, max_size=None, proxy=None, user_agent_header="Dart/3.5 (dart:io)"
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def _read(self) -> None:
        try:
            async for frame in self.connection:
                message = self._parsed(frame)
                await self._received(message)
                async with self._news:
                    self.messages.append(message)
                    self._news.notify_all()
        except ParseError as problem:
            self.problem = problem
        except ConnectionClosed:
            pass  # the code is read below, whichever way it ended
        finally:
            await self.connection.wait_closed()
            self.close_code, self.close_reason = self.connection.close_code, self.connection.close_reason or ""
            async with self._news:
                self._news.notify_all()

    def _parsed(self, frame: str | bytes) -> Message:
        if isinstance(frame, bytes):
            raise ParseError(f"a binary frame, which the app drops: {frame[:40]!r}")
        message: Message = parse(object_of({"type": text}), json.loads(frame))
        if message["type"] in self.known_messages:
            parse(self.known_messages[message["type"]], message, message["type"])
        return message

    async def _received(self, message: Message) -> None:
        """React to a message before anybody sees it."""

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def cut(self) -> None:
        """Vanish, as phones do: no close frame, no goodbye."""
        if self._connection and self._reader:
            self._connection.transport.abort()
            await self._reader
            await self._connection.wait_closed()

    async def leave(self) -> None:
        """Go as the app does when its screen is left in an orderly way."""
        await self.connection.close(1000)
        assert self._reader
        await self._reader

    async def wait_for(self, kind: str, patience_s: float = PATIENCE_S, *, number: int = 1) -> Message:
        """Return the first message of that kind, or the one with that ``number`` from 1, waiting for it."""
        found = await self._until(
            lambda: [m for m in self.messages if m["type"] == kind][number - 1 :], kind, patience_s
        )
        return found[0]

    async def wait_closed(self, patience_s: float = PATIENCE_S) -> tuple[int | None, str]:
        """Return code and reason once the socket has ended."""
        assert self._reader
        await asyncio.wait_for(asyncio.shield(self._reader), patience_s)
        return self.close_code, self.close_reason

    async def _until(self, find: Callable[[], Found], what: str, patience_s: float) -> Found:
        try:
            async with asyncio.timeout(patience_s), self._news:
                while not (found := find()):
                    if self.problem:
                        raise self.problem
                    if self._reader and self._reader.done():
                        raise AssertionError(
                            f"closed with {self.close_code} before {what!r} came: {self.messages[-5:]}"
                        )
                    await self._news.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"{what!r} did not come within {patience_s:g} s: {self.messages[-5:]}") from None


class PhoneLogs(PhoneSocket):
    """The log socket, for the progress of a creation."""


class PhoneTerminal(PhoneSocket):
    """The terminal screen: sends every key by itself, and a lone newline after every welcome."""

    known_messages = TERMINAL_MESSAGES

    async def _received(self, message: Message) -> None:
        if message["type"] == "welcome":
            await self.send(type="input", data="\n")

    @property
    def raw(self) -> str:
        """All output so far, as it was written to the terminal widget."""
        return "".join(message["data"] for message in self.messages if message["type"] == "output")

    @property
    def shown(self) -> str:
        """All output so far without escape sequences and line breaks, for looking things up."""
        return _ESCAPES.sub("", self.raw).replace("\r", "").replace("\n", "")

    async def press(self, keys: str) -> None:
        """Press keys one after the other, each its own message."""
        for key in keys:
            await self.send(type="input", data=key)

    async def enter(self, line: str) -> None:
        """Type a line and Enter, which is a carriage return."""
        await self.press(f"{line}\r")

    async def resize(self, columns: int, rows: int) -> None:
        await self.send(type="resize", cols=columns, rows=rows)

    async def see(self, what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until ``what`` has been shown since this socket was opened."""
        await self._until(lambda: what in self.shown, what, patience_s)

    async def echo_of(self, key: str) -> None:
        """Press a key and wait for the next output."""
        seen = len(self.raw)
        await self.press(key)
        await self._until(lambda: len(self.raw) > seen, f"an echo of {key!r}", PATIENCE_S)

    async def until_cleared(self) -> None:
        """Wait until the server has emptied screen and scrollback, which it does before it attaches anew."""
        await self._until(lambda: "\x1b[3J" in self.raw, "an emptied screen", PATIENCE_S)

    async def run(self, command: str, shows: str, patience_s: float = PATIENCE_S) -> None:
        """Type a command and wait for what it prints, which must not be part of the command itself."""
        assert shows not in command
        await self.enter(command)
        await self.see(shows, patience_s)
