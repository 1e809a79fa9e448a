"""The terminal program, on a real pty, against a server that speaks the terminal's messages."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import click
import orjson
import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from scripts.terminal import DETACH, RESET, attach, raw_keyboard, terminal_url

PATIENCE_S = 10.0
ENVIRONMENT = "a" * 24


class FakeServer(WebSocketHandler):
    """Keeps what it is told; says what the test wants said."""

    # The server itself is tried with this program in the end-to-end tests; here it has to misbehave on demand.
    heard: asyncio.Queue[dict[str, Any]]
    opened: asyncio.Queue["FakeServer"]

    def initialize(self, heard, opened) -> None:
        self.heard, self.opened = heard, opened

    def open(self, *_path: str) -> None:
        self.opened.put_nowait(self)

    def on_message(self, message) -> None:
        self.heard.put_nowait(orjson.loads(message))

    async def say(self, **message: Any) -> None:
        await self.write_message(orjson.dumps(message))


@dataclass
class Screen:
    """Both ends of a pty: ``terminal`` is the program's, ``person`` is who sits before it."""

    person: int
    terminal: int
    shown: bytes = b""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def press(self, keys: bytes) -> None:
        os.write(self.person, keys)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def look(self) -> None:
        self.shown += os.read(self.person, 65536)
        self.news.set()

    async def see(self, what: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while what not in self.shown:
                self.news.clear()
                await self.news.wait()


@pytest.fixture
def screen() -> Iterator[Screen]:
    person, terminal = pty.openpty()
    yield Screen(person, terminal)
    os.close(person)
    os.close(terminal)


@dataclass
class Session:
    """A program that is attached, and the server's end of its connection."""

    url: str
    server: FakeServer
    program: "asyncio.Task[int | None]"
    heard: "asyncio.Queue[dict[str, Any]]"

    async def next_message(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.heard.get(), PATIENCE_S)

    async def ended(self) -> int | None:
        return await asyncio.wait_for(self.program, PATIENCE_S)


@pytest.fixture
async def session(screen) -> AsyncIterator[Session]:
    opened: asyncio.Queue[FakeServer] = asyncio.Queue()
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    listening, port = bind_unused_port()
    queues = {"heard": heard, "opened": opened}
    http = HTTPServer(Application([(r"/api/v1/ws/terminal/(.*)", FakeServer, queues)]))
    http.add_socket(listening)
    loop = asyncio.get_running_loop()
    loop.add_reader(screen.person, screen.look)
    screen.resize(30, 100)
    url = f"http://127.0.0.1:{port}"
    with raw_keyboard(screen.terminal):
        ends = {"keyboard": screen.terminal, "screen": screen.terminal}
        program = asyncio.create_task(attach(url, "the-token", ENVIRONMENT, **ends))
        server = await asyncio.wait_for(opened.get(), PATIENCE_S)
        yield Session(url, server, program, heard)
        program.cancel()
        await asyncio.gather(program, return_exceptions=True)
    loop.remove_reader(screen.person)
    http.stop()
    await http.close_all_connections()


async def test_it_shows_identifies_itself_and_types(session, screen):
    assert session.server.request.headers["Authorization"] == "Bearer the-token"
    assert ENVIRONMENT in session.server.request.path
    assert await session.next_message() == {"type": "resize", "cols": 100, "rows": 30}
    await session.server.say(type="output", data="grüße\r\n")
    await screen.see("grüße".encode())
    screen.press(b"ls\r")
    assert await session.next_message() == {"type": "input", "data": "ls\r"}


async def test_a_character_that_comes_in_parts_is_typed_whole(session, screen):
    await session.next_message()
    first, second = "ü".encode()[:1], "ü".encode()[1:]
    screen.press(b"a" + first)
    assert await session.next_message() == {"type": "input", "data": "a"}
    screen.press(second)
    assert await session.next_message() == {"type": "input", "data": "ü"}


async def test_keys_that_signal_elsewhere_are_typed_and_ctrl_bracket_leaves(session, screen):
    await session.next_message()
    screen.press(b"\x03\x04\x1a")
    assert await session.next_message() == {"type": "input", "data": "\x03\x04\x1a"}
    screen.press(b"x" + DETACH + b"never typed")
    assert await session.next_message() == {"type": "input", "data": "x"}
    assert await session.ended() == 1000
    assert session.heard.empty()
    await screen.see(RESET)


async def test_a_new_size_is_told(session, screen):
    await session.next_message()
    screen.resize(50, 200)
    os.kill(os.getpid(), signal.SIGWINCH)
    assert await session.next_message() == {"type": "resize", "cols": 200, "rows": 50}


async def test_sentences_of_the_server_are_shown(session, screen):
    await session.server.say(type="welcome", message="not shown: the screen follows")
    await session.server.say(type="status_update", phase="running", message="not shown: the screen says so")
    await session.server.say(type="status_update", phase="provisioning", message="Starting the container.")
    await screen.see(b"[Starting the container.]")
    assert b"not shown" not in screen.shown


@pytest.mark.parametrize("code", [1001, 1008])
async def test_the_code_of_a_close_is_returned(session, code):
    session.server.close(code, "because")
    assert await session.ended() == code


async def test_a_lost_connection_has_no_code(session):
    session.server.ws_connection.stream.close()
    assert await session.ended() is None


async def test_a_signal_to_end_leaves(session):
    await session.next_message()
    os.kill(os.getpid(), signal.SIGHUP)
    assert await session.ended() == 1000


def test_the_terminal_is_as_before_whatever_happens(screen):
    before = termios.tcgetattr(screen.terminal)
    with raw_keyboard(screen.terminal):
        assert termios.tcgetattr(screen.terminal) != before
    assert termios.tcgetattr(screen.terminal) == before
    with pytest.raises(ZeroDivisionError), raw_keyboard(screen.terminal):
        _ = 1 / 0
    assert termios.tcgetattr(screen.terminal) == before


def test_addresses():
    assert terminal_url("http://127.0.0.1:8000/", "ab") == "ws://127.0.0.1:8000/api/v1/ws/terminal/ab"
    assert terminal_url("https://example.org/pocket", "a/b") == "wss://example.org/pocket/api/v1/ws/terminal/a%2Fb"
    with pytest.raises(click.BadParameter):
        terminal_url("127.0.0.1:8000", "ab")


@pytest.mark.parametrize(
    ("terminal", "sentence"), [(False, "needs a terminal on both ends"), (True, "does not answer")]
)
def test_what_cannot_work_is_one_sentence(screen, terminal, sentence):
    listening, port = bind_unused_port()
    listening.close()
    end = screen.terminal if terminal else subprocess.PIPE
    program = subprocess.run(
        [sys.executable, "-m", "scripts.terminal", ENVIRONMENT, "--url", f"http://127.0.0.1:{port}"],
        env={**os.environ, "DEVPOCKET_TOKEN": "x"},
        stdin=screen.terminal,
        stdout=end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert program.returncode == 1
    assert sentence in program.stderr
    assert "Traceback" not in program.stderr
