"""No secret in any output: every endpoint is called with secrets in every place, then the output is searched."""

import asyncio
import json
import re
from typing import Any

import httpx
from websockets.asyncio.client import connect

from tests.e2e.server import ServerProcess
from tests.handlers.conftest import Person, register

MARK = "Zq7-hidden-Xk3"
"""In every password, token and code that is sent."""
SECRET_FIELDS = (
    "password",
    "current_password",
    "new_password",
    "token",
    "refresh_token",
    "id_token",
    "access_token",
    "code",
)
_JWT = re.compile(rb"eyJ[\w-]{10,}\.[\w-]{10,}")


def test_no_secret_is_written_anywhere(server: ServerProcess) -> None:
    person = register(server)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        spec = client.get("/api/v1/openapi.json").json()
        user_id = client.get("/api/v1/auth/me", headers=person.headers).json()["id"]
        for path, item in spec["paths"].items():
            for method in [name for name in item if name != "parameters"]:
                call(client, method, path, person)
    asyncio.run(knock(server, person))
    assert httpx.get(f"{server.url}/health").status_code == 200
    written = b"".join(path.read_bytes() for path in (server.output, *server.data_dir.glob("*.log")))
    assert b'"route":"/api/v1/auth/login"' in written
    lines = [json.loads(line) for line in server.output.read_text().splitlines() if line.startswith("{")]
    assert ("/api/v1/auth/register", user_id) in {(line.get("route"), line.get("user")) for line in lines}
    assert MARK.encode() not in written
    assert person.access_token.encode() not in written
    assert person.refresh_token.encode() not in written
    assert not _JWT.search(written)


def call(client: httpx.Client, method: str, path: str, person: Person) -> None:
    """Call an operation as the wrong and as the right person, with secrets in the body, the query and a header."""
    secret = f"{MARK}-aA1"
    body: dict[str, Any] = dict.fromkeys(SECRET_FIELDS, secret)
    body |= {"username_or_email": person.username, "username": "somebody-new", "email": "somebody-new@example.org"}
    address = re.sub(r"\{\w+\}", "a" * 24, path)
    for headers in ({"Authorization": f"Bearer {secret}"}, {"Authorization": f"Basic {secret}"}, person.headers):
        if headers is person.headers and (method == "delete" or path.endswith(("logout", "sessions"))):
            continue  # it would sign this person out
        answer = client.request(
            method, address, params={"token": secret}, content=json.dumps(body), headers={**headers, "Cookie": secret}
        )
        assert answer.status_code < 500 or answer.status_code == 503, f"{method} {path}: {answer.text}"


async def knock(server: ServerProcess, person: Person) -> None:
    """Open WebSockets with good and bad tokens in their addresses."""
    for kind in ("terminal", "logs", "other"):
        for token in (person.access_token, person.refresh_token, MARK):
            url = f"ws://127.0.0.1:{server.port}/api/v1/ws/{kind}/{'a' * 24}?token={token}"
            async with connect(url, proxy=None) as socket, asyncio.timeout(10):
                await socket.wait_closed()
