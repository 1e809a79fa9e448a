"""Attach this terminal to the terminal of an environment, as the app does: for operators, developers and the README.

``DEVPOCKET_TOKEN=... python -m scripts.terminal ENVIRONMENT [--url http://127.0.0.1:8000]``; Ctrl-] leaves. What runs
inside goes on, and is there again with the next attachment. docs/websocket.md says what is on the wire.
"""

import asyncio
import codecs
import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import click
import orjson
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

DETACH = b"\x1d"
"""Ctrl-], as in telnet(1)."""
READ_BYTES = 4096
RESET = b"\x1b[?1000;1002;1003;1006;2004l\x1b[?25h\x1b[m\x1b[r\x1b[999B\r\n"
"""Takes back what tmux has set (xterm's control sequences), and leaves the cursor below the screen."""
CONNECT_DEADLINE_S = 15.0
GOODBYE_S = 2.0
NORMAL, GOING_AWAY, REFUSED = 1000, 1001, 1008
"""RFC 6455, 7.4.1."""
_REASONS = {
    GOING_AWAY: "The server restarts. Your terminal goes on: run the same command again in a moment.",
    REFUSED: "Refused: the token is not valid, there is no such environment, or too many sockets are open.",
    None: "The connection was lost. Your terminal goes on: run the same command again.",
}


class TerminalClient:
    """One terminal at one environment. The caller owns both descriptors and sets the keyboard to raw."""

    def __init__(self, connection: WebSocketClientConnection, *, keyboard: int, screen: int) -> None:
        self._connection = connection
        self._keyboard = keyboard
        self._screen = screen
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._left = asyncio.Event()
        self._is_over = False

    async def run(self) -> int | None:
        """Serve until somebody leaves; return the code that the connection was closed with, 1000 when this side left.

        None when it was lost without one. Cancelling is safe.
        """
        loop = asyncio.get_running_loop()
        loop.add_reader(self._keyboard, self._typed)
        showing, leaving = asyncio.create_task(self._show()), asyncio.create_task(self._left.wait())
        try:
            self.tell_size()
            await asyncio.wait([showing, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(self._keyboard)
            for task in (showing, leaving):
                task.cancel()
            await asyncio.gather(showing, leaving, return_exceptions=True)
            await self._close()
            await asyncio.to_thread(_write_all, self._screen, RESET)
        if not showing.cancelled():
            showing.result()
        return NORMAL if self._left.is_set() else self._connection.close_code

    async def _close(self) -> None:
        """Say goodbye and wait a moment for the answer, so that the server sees an orderly end."""
        self._connection.close(NORMAL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                while not self._is_over and await self._connection.read_message() is not None:
                    continue

    def leave(self) -> None:
        """End :meth:`run`."""
        self._left.set()

    def tell_size(self) -> None:
        """Tell the environment how large this terminal is."""
        rows, columns = size_of(self._screen)
        self._send({"type": "resize", "cols": columns, "rows": rows})

    def _typed(self) -> None:
        try:
            keys = os.read(self._keyboard, READ_BYTES)
        except OSError:  # the terminal is gone, as read(2) says of one that hung up
            keys = b""
        before, detach, _ = keys.partition(DETACH)
        if text := self._decoder.decode(before):
            self._send({"type": "input", "data": text})
        if detach or not keys:
            self.leave()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._connection.write_message(orjson.dumps(message))
        except WebSocketClosedError:
            self.leave()

    async def _show(self) -> None:
        """Show what comes, no faster than the screen takes it, until the connection ends."""
        while (frame := await self._connection.read_message()) is not None:
            message = orjson.loads(frame)
            match message.get("type"):
                case "output":
                    shown = message["data"]
                case "status_update" if message.get("phase") == "running":
                    continue  # the screen itself says so
                case "info" | "status_update" | "error":
                    shown = f"\r\n[{message.get('message', '')}]\r\n"
                case _:
                    continue
            await asyncio.to_thread(_write_all, self._screen, shown.encode("utf-8", "replace"))
        self._is_over = True


async def attach(url: str, token: str, environment_id: str, *, keyboard: int, screen: int) -> int | None:
    """Connect, serve until somebody leaves, and return the code of the close; see :meth:`TerminalClient.run`.

    SIGWINCH tells the new size; SIGTERM, SIGHUP and SIGINT leave. Raises OSError or HTTPClientError when there is no
    connection to be had.
    """
    request = HTTPRequest(
        terminal_url(url, environment_id),
        headers={"Authorization": f"Bearer {token}"},
        connect_timeout=CONNECT_DEADLINE_S,
    )
    connection = await websocket_connect(request)
    client = TerminalClient(connection, keyboard=keyboard, screen=screen)
    with _handling({signal.SIGWINCH: client.tell_size, **dict.fromkeys(_ENDING, client.leave)}):
        return await client.run()


_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextlib.contextmanager
def _handling(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def terminal_url(url: str, environment_id: str) -> str:
    """Return the address of the WebSocket; ``url`` is that of the server."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise click.BadParameter(f"{url!r} is not like http://127.0.0.1:8000", param_hint="--url")
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/api/v1/ws/terminal/{quote(environment_id, safe='')}"


def size_of(screen: int) -> tuple[int, int]:
    """Return rows and columns of a terminal (ioctl_tty(2)); 24 and 80 where it does not know."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(screen, termios.TIOCGWINSZ, bytes(8)))
    return rows or 24, columns or 80


@contextlib.contextmanager
def raw_keyboard(keyboard: int) -> Iterator[None]:
    """Have every key as it is pressed; the terminal is as it was afterwards, whatever happens."""
    before = termios.tcgetattr(keyboard)
    tty.setraw(keyboard)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _write_all(screen: int, data: bytes) -> None:
    while data:
        data = data[os.write(screen, data) :]


@click.command()
@click.argument("environment")
@click.option("--url", default="http://127.0.0.1:8000", envvar="DEVPOCKET_URL", help="The server; DEVPOCKET_URL.")
@click.option("--token", envvar="DEVPOCKET_TOKEN", required=True, help="An access token; better in DEVPOCKET_TOKEN.")
def main(environment: str, url: str, token: str) -> None:
    """Attach this terminal to the environment with that id. Ctrl-] leaves."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.ClickException("this needs a terminal on both ends")
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    try:
        with raw_keyboard(keyboard):
            code = asyncio.run(attach(url, token, environment, keyboard=keyboard, screen=screen))
    except (OSError, HTTPClientError) as error:
        raise click.ClickException(f"{url} does not answer: {error}") from error
    click.echo("Left." if code == NORMAL else _REASONS.get(code, f"Closed by the server ({code})."), err=True)
    sys.exit(0 if code == NORMAL else 1)


if __name__ == "__main__":
    main()
