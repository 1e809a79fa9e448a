"""Headers, other origins, and WebSockets that pages open."""

from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.accounts.conftest import ORIGIN
from tests.accounts.people import Person, Web, check_refusal
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


@pytest.mark.parametrize("path", ["/health", "/api/v1/auth/me", "/nothing", "/docs", "/api/v1/openapi.json"])
async def test_every_answer_has_the_headers_of_the_floor(http: httpx.AsyncClient, path: str):
    answer = await http.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["server"] == "DevPocket"
    assert "strict-transport-security" not in answer.headers, "this is not TLS"
    behind_tls = await http.get(path, headers={"x-forwarded-proto": "https"})
    assert "max-age=" in behind_tls.headers["strict-transport-security"]


async def test_a_request_id_is_taken_when_it_is_one(http: httpx.AsyncClient):
    for given, taken in (("abc-123", True), ("x" * 65, False), ("a b", False), ("a;b", False)):
        answer = await http.get("/health", headers={"x-request-id": given})
        assert (answer.headers["x-request-id"] == given) is taken, given


async def test_an_allowed_origin_may_read_with_credentials(http: httpx.AsyncClient):
    answer = await http.get("/health", headers={"origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "origin" in answer.headers["vary"].lower()
    preflight = await http.options(
        "/api/v1/auth/login", headers={"origin": ORIGIN, "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 204
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    refused = await http.get("/api/v1/auth/me", headers={"origin": ORIGIN})
    assert refused.headers["access-control-allow-origin"] == ORIGIN, "a page can read why it was refused"


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


async def test_a_token_may_come_in_the_handshakes_header(web: Web, person: Person):
    url = socket_url(person).partition("?")[0]
    async with connect(url, additional_headers={"Authorization": "Bearer x"}, proxy=None) as socket:
        await socket.wait_closed()
    assert socket.close_code == 1008
