"""Pages of other origins: what they may read, and which may open WebSockets."""

from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.accounts.conftest import ORIGIN
from tests.accounts.people import Person, check_refusal
from tests.e2e.server import ServerProcess

NOBODYS = "0" * 24
EVIL = (
    "https://evil.example.org",
    "http://app.example.org",
    "https://app.example.org.evil.org",
    "https://app.example.org:444",
    "null",
    "*",
)


@pytest.fixture
async def http(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url) as http:
        yield http


@pytest.mark.parametrize("origin", EVIL)
async def test_no_other_origin_may(http: httpx.AsyncClient, origin: str):
    for method in ("GET", "OPTIONS"):
        asked = {"origin": origin, "access-control-request-method": "POST"}
        answer = await http.request(method, "/api/v1/auth/login", headers=asked)
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers


def socket_url(person: Person) -> str:
    base = person.web.url.replace("http", "ws", 1)
    return f"{base}/api/v1/ws/terminal/{NOBODYS}?token={person.access_token}"


@pytest.mark.parametrize("origin", EVIL)
async def test_a_page_of_another_origin_opens_no_socket(person: Person, origin: str):
    with pytest.raises(InvalidStatus) as caught:
        await connect(socket_url(person), additional_headers={"Origin": origin}, proxy=None)
    assert caught.value.response.status_code == 403
    answer = await person.web.http.get(
        f"/api/v1/ws/terminal/{NOBODYS}",
        headers={
            "origin": origin,
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version": "13",
        },
    )
    assert answer.status_code == 403
    check_refusal(answer)


@pytest.mark.parametrize("origin", [None, ORIGIN, "own"])
async def test_the_app_and_allowed_pages_do(person: Person, origin: str | None):
    """They get through to identification, which closes with 1008 because there is no such environment."""
    own = person.web.url
    headers = {} if origin is None else {"Origin": own if origin == "own" else origin}
    async with connect(socket_url(person), additional_headers=headers, proxy=None) as socket:
        await socket.wait_closed()
    assert socket.close_code == 1008
