"""WebSockets over real connections: refusals, silence, abuse, farewell. What a terminal does is tested elsewhere."""

import asyncio
import base64
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tornado.iostream import IOStream
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from actors.directory import Directory
from handlers.socket_registry import SocketRegistry
from handlers.terminal import ACTIVITY_EVERY, TerminalHandler
from tests.actors.samples import Notebook
from tests.auth.clocks import SetClock
from tests.e2e.server import ServerProcess, wait_until
from tests.handlers.conftest import OTHER_ORIGIN, Person, make_environment, register
from tests.handlers.fakes import environment

REFUSED = (1008, "Authentication failed")


@asynccontextmanager
async def opened(server: ServerProcess, path: str, **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{server.port}{path}", max_size=None, proxy=None, **options) as socket:
        yield socket


def terminal(environment_id: str, person: Person) -> str:
    return f"/api/v1/ws/terminal/{environment_id}?token={person.access_token}"


async def message(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next message of that kind."""
    async with asyncio.timeout(10):
        while True:
            said: dict[str, Any] = json.loads(await socket.recv())
            if said["type"] == kind:
                return said


async def ended(socket: ClientConnection) -> tuple[int, str]:
    """Return code and reason with which the server closes."""
    async with asyncio.timeout(15):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


async def test_the_welcome_is_first_and_has_what_the_app_shows(
    server: ServerProcess, person: Person, running: str
) -> None:
    async with opened(server, terminal(running, person)) as socket:
        first = json.loads(await socket.recv())
        assert first["type"] == "welcome"
        assert first["environment"] == {
            "id": running,
            "name": "My Awesome Project",
            "template": "ubuntu",
            "status": "running",
            "installation_completed": True,
            "pty_enabled": True,
        }
        assert (await message(socket, "output"))["data"]


async def test_the_token_may_come_in_a_header(server: ServerProcess, person: Person, running: str) -> None:
    async with opened(server, f"/api/v1/ws/terminal/{running}", additional_headers=person.headers) as socket:
        assert json.loads(await socket.recv())["type"] == "welcome"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/ws/terminal/{id}",
        "/api/v1/ws/terminal/{id}?token=",
        "/api/v1/ws/terminal/{id}?token=%ff%fe",
        "/api/v1/ws/terminal/{id}?token={refresh}",
        "/api/v1/ws/terminal/none?token={access}",
        "/api/v1/ws/terminal/%2e%2e%2f?token={access}",
        "/api/v1/ws/logs/ffffffffffffffffffffffff?token={access}",
        "/api/v1/ws?token={access}",
        "/api/v1/ws/exec?token={access}",
        "/api/v1/ws/exec/{id}?token={access}",
        "/api/v1/ws/terminal/{id}/more?token={access}",
        "/ws/terminal/{id}?token={access}",
    ],
)
async def test_every_refusal_comes_after_the_handshake_and_looks_the_same(
    server: ServerProcess, person: Person, running: str, path: str
) -> None:
    known = {"id": running, "access": person.access_token, "refresh": person.refresh_token}
    async with opened(server, path.format(**known)) as socket:
        assert await ended(socket) == REFUSED


async def test_pages_of_other_origins_are_kept_out(server: ServerProcess, person: Person, running: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(server, terminal(running, person), origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403
    async with opened(server, terminal(running, person), origin=OTHER_ORIGIN) as socket:
        assert json.loads(await socket.recv())["type"] == "welcome"


async def test_nonsense_is_answered_and_too_much_of_it_is_not(
    server: ServerProcess, person: Person, running: str
) -> None:
    async with opened(server, terminal(running, person)) as socket:
        for nonsense in ("x", "[]", '{"type": "exec"}', b"\x00\xff", "y" * 1_000_000):
            await socket.send(nonsense)
            assert (await message(socket, "error"))["message"].endswith(".")
        await socket.send('{"type": "ping"}')
        await message(socket, "pong")
        for _ in range(100):
            await socket.send("{")
        assert (await ended(socket))[0] == 1008


async def test_a_message_that_is_far_too_large_ends_the_socket_alone(
    server: ServerProcess, person: Person, running: str
) -> None:
    async with opened(server, terminal(running, person), compression=None) as socket:
        with contextlib.suppress(ConnectionClosed):
            await socket.send(json.dumps({"type": "input", "data": "x" * 9_000_000}))
        await ended(socket)
    async with opened(server, terminal(running, person)) as socket:
        assert json.loads(await socket.recv())["type"] == "welcome"


async def test_a_client_that_is_silent_is_let_go_and_one_that_answers_pings_is_not(
    server: ServerProcess, person: Person, running: str
) -> None:
    async with opened(server, terminal(running, person), ping_interval=None) as alive:
        # A client without a library: it reads nothing, so nobody answers the server's pings.
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {terminal(running, person)} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        async with asyncio.timeout(20):
            while await reader.read(65536):
                pass
        writer.close()
        await alive.send('{"type": "ping"}')
        await message(alive, "pong")


async def test_the_eleventh_socket_is_refused_and_room_is_made_at_once(server: ServerProcess) -> None:
    person = register(server)
    path = terminal(make_environment(server, person), person)
    url = f"ws://127.0.0.1:{server.port}{path}"
    sockets = [await connect(url, proxy=None) for _ in range(10)]
    try:
        for socket in sockets:
            await message(socket, "welcome")
        async with opened(server, path) as eleventh:
            assert await ended(eleventh) == REFUSED
        for socket in sockets:
            await socket.send('{"type": "ping"}')
            await message(socket, "pong")
        sockets.pop().transport.abort()
        wait_until(lambda: b'"close_code":null' in server.output.read_bytes(), "the end of the cut socket")
        async with opened(server, path) as another:
            await message(another, "welcome")
    finally:
        for socket in sockets:
            await socket.close()


async def test_signing_out_closes_the_sockets_of_that_session(server: ServerProcess) -> None:
    person = register(server)
    environment_id = make_environment(server, person)
    async with opened(server, terminal(environment_id, person)) as socket:
        await message(socket, "welcome")
        async with httpx.AsyncClient(base_url=server.url, headers=person.headers) as client:
            assert (await client.post("/api/v1/auth/logout")).status_code == 200
            async with asyncio.timeout(1.5):
                assert (await ended(socket))[0] == 1008
            assert (await client.get("/api/v1/auth/me")).status_code == 401


async def test_the_log_is_replayed_and_then_followed(server: ServerProcess, person: Person, running: str) -> None:
    path = f"/api/v1/ws/logs/{running}?token={person.access_token}"
    async with opened(server, f"{path}&follow=false") as socket:
        said = [json.loads(each) async for each in socket]
        assert socket.close_code == 1000
    assert said[0]["type"] == "welcome"
    assert {"installation_log", "log"} <= {each["type"] for each in said}
    async with opened(server, path) as socket, httpx.AsyncClient(base_url=server.url, headers=person.headers) as client:
        await message(socket, "log")
        await socket.send('{"type": "ping"}')
        await message(socket, "pong")
        await client.post(f"/api/v1/environments/{running}/restart")
        async with asyncio.timeout(20):
            phases: list[str] = []
            while "provisioning" not in phases or phases[-1] != "running":
                phases.append((await message(socket, "status_update"))["phase"])
    assert phases.index("stopping") < phases.index("provisioning")


async def test_a_server_that_stops_names_the_reconnect() -> None:
    server = ServerProcess()
    try:
        server.start()
        person = register(server)
        environment_id = make_environment(server, person)
        async with opened(server, terminal(environment_id, person)) as socket:
            await message(socket, "output")
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            while True:
                farewell = await message(socket, "status_update")
                if farewell.get("reconnect"):
                    break
            assert farewell["environment_id"] == environment_id
            assert farewell["status"] == "running"
            assert farewell["retry_after"] >= 1
            assert (await ended(socket))[0] == 1001
            assert await stopping == 0
    finally:
        server.close()


async def test_a_client_that_is_gone_before_its_socket_opens_is_no_failure() -> None:
    near, far = socket.socketpair()
    stream = IOStream(near)
    stream.close()
    far.close()
    handler: Any = object.__new__(TerminalHandler)
    handler.ws_connection = SimpleNamespace(stream=stream)
    handler.open("e" * 24)
    assert set(vars(handler)) == {"ws_connection"}, "nothing begins that nobody would end"


async def test_a_terminal_goes_on_when_nobody_can_be_told_that_somebody_types() -> None:
    """The actor of its environment has too much to do, as while the database is away for long."""
    environments: Directory[str] = Directory(Notebook)
    await environments.stop_all(1)
    metrics, clock = SimpleNamespace(terminal_bytes=lambda *_: None), SetClock()
    backend = SimpleNamespace(metrics=metrics, clock=clock, environments=environments)
    handler: Any = object.__new__(TerminalHandler)
    handler.application = SimpleNamespace(settings={"backend": backend, "sockets": SocketRegistry()})
    handler.environment, handler.socket_id = environment(), "s" * 24
    handler._noted_at = clock.now() - ACTIVITY_EVERY
    handler.note_typing(1)
    assert handler._noted_at == clock.now()
