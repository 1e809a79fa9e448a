"""What is refused, how, and that the app can read it."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.e2e.conftest import Phones
from tests.e2e.server import ServerProcess
from tests.phone.client import Phone, Refused
from tests.phone.parsers import ERROR, parse

NOBODYS = "0123456789abcdef01234567"


async def refused_socket(url: str) -> int | None:
    """Connect, which must succeed, and return the code that the server closes with."""
    async with connect(url, ping_interval=None, proxy=None) as socket:
        await asyncio.wait_for(socket.wait_closed(), 10)
        return socket.close_code


async def test_sockets_are_refused_with_1008_after_the_handshake(phones: Phones, server: ServerProcess):
    owner, other = await phones(), await phones()
    environment_id = (await owner.create())["id"]
    await owner.until(environment_id, "running")
    assert owner.tokens
    assert other.tokens
    base = server.url.replace("http", "ws", 1) + "/api/v1/ws"
    good, refresh, foreign = (
        owner.tokens["access_token"],
        owner.tokens["refresh_token"],
        other.tokens["access_token"],
    )
    for kind in ("terminal", "logs"):
        refused = {
            "no token": f"{base}/{kind}/{environment_id}",
            "empty token": f"{base}/{kind}/{environment_id}?token=",
            "bad token": f"{base}/{kind}/{environment_id}?token=x.y.z",
            "changed token": f"{base}/{kind}/{environment_id}?token={good[:-2]}",
            "refresh token": f"{base}/{kind}/{environment_id}?token={refresh}",
            "somebody else's": f"{base}/{kind}/{environment_id}?token={foreign}",
            "nobody's": f"{base}/{kind}/{NOBODYS}?token={good}",
            "no id": f"{base}/{kind}/..%2F..%2Fetc?token={good}",
            "bad path": f"{base}/dance/{environment_id}?token={good}",
        }
        codes = {reason: await refused_socket(url) for reason, url in refused.items()}
        assert codes == dict.fromkeys(refused, 1008)


async def test_the_eleventh_socket_is_refused_and_the_ten_stay(phone: Phone):
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(phone.terminal(environment_id)) for _ in range(8)]
        sockets_of_logs = [await stack.enter_async_context(phone.logs(environment_id)) for _ in range(2)]
        for socket in (*sockets, *sockets_of_logs):
            await socket.wait_for("welcome")
        assert await refused_socket(phone.terminal(environment_id).url) == 1008
        for socket in (*sockets, *sockets_of_logs):
            await socket.send(type="ping")
            await socket.wait_for("pong")
        await sockets[0].cut()
        async with asyncio.timeout(10):
            while not await is_welcome(phone, environment_id):
                pass


async def is_welcome(phone: Phone, environment_id: str) -> bool:
    async with connect(phone.terminal(environment_id).url, ping_interval=None, proxy=None) as socket:
        try:
            first = await asyncio.wait_for(anext(aiter(socket)), 10)
        except StopAsyncIteration:
            return False
        return bool(json.loads(first)["type"] == "welcome")


async def test_somebody_elses_environment_does_not_exist(phones: Phones):
    owner, other = await phones(), await phones()
    environment_id = (await owner.create())["id"]
    for asked in (environment_id, NOBODYS, "..%2F..", "x" * 300):
        for method, path, body in (
            ("GET", "", None),
            ("PUT", "", {"name": "mine now"}),
            ("DELETE", "", None),
            ("POST", "/start", None),
            ("POST", "/stop", None),
            ("POST", "/restart", None),
            ("POST", "/recover", None),
            ("GET", "/metrics", None),
            ("GET", "/logs", None),
        ):
            with pytest.raises(Refused) as caught:
                await other.call(method, f"/environments/{asked}{path}", body)
            assert caught.value.status == 404, (method, path)
    assert (await owner.environment(environment_id))["name"] == "My Awesome Project"


async def test_the_plan_and_names_are_kept_with_a_sentence(phone: Phone):
    await phone.create("One")
    with pytest.raises(Refused) as caught:
        await phone.create("Two")
    assert caught.value.status == 403
    assert len(caught.value.detail) > 10
    assert len(await phone.environments()) == 1


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"name": ""}, 422, "name"),
        ({"name": None}, 422, "name"),
        ({"name": 5}, 422, "name"),
        ({"name": "x" * 300}, 422, "name"),
        ({"name": "a\x00b"}, 422, "name"),
        ({"template_id": "no-such"}, 404, None),
        ({"template_id": 7}, 422, "template_id"),
        ({"resource_limits": "much"}, 422, "resource_limits"),
        ({"resource_limits": {"cpu": "much"}}, 422, "resource_limits.cpu"),
        ({"resource_limits": {"cpu": "64"}}, 403, None),
        ({"environment_variables": {"A": 1}}, 422, "environment_variables.A"),
        ({"environment_variables": {"A=B": "1"}}, 422, "environment_variables.A=B"),
        ({"environment_variables": {"A": "x\x00y"}}, 422, "environment_variables.A"),
        ({"environment_variables": []}, 422, "environment_variables"),
    ],
)
async def test_a_wrong_field_is_named(phone: Phone, changes: dict[str, Any], status: int, field: str | None):
    with pytest.raises(Refused) as caught:
        await phone.create(**changes)
    assert caught.value.status == status
    if field:
        assert {problem["field"] for problem in caught.value.body["errors"]} == {field}
    assert await phone.environments() == []


async def test_a_body_that_is_no_json_object_is_refused(phone: Phone, server: ServerProcess):
    assert phone.tokens
    headers = {"authorization": f"Bearer {phone.tokens['access_token']}", "content-type": "application/json"}
    for content, status in (
        (b'{"name": ', 400),
        (b"\xff\xfe", 400),
        (b"", 422),
        (b"[]", 422),
        (b'"x"', 422),
        (b"[" * 100_000, 400),
        (b'{"name": "' + b"x" * 11 * 1024 * 1024 + b'"}', 413),
    ):
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
            answer = await http.post("/api/v1/environments/", content=content, headers=headers)
        assert answer.status_code == status, content[:20]
        parse(ERROR, answer.json())
    assert await phone.environments() == []


async def test_without_a_token_everything_is_401_and_unknown_addresses_404(phone: Phone, server: ServerProcess):
    async with httpx.AsyncClient(base_url=server.url) as http:
        for path in ("/auth/me", "/environments", "/environments/", f"/environments/{NOBODYS}", "/templates/"):
            answer = await http.get(f"/api/v1{path}")
            assert answer.status_code == 401, path
            parse(ERROR, answer.json())
        for path in ("/api/v1/dance", "/api/v1/", "/nothing.php", "/api/v2/health"):
            answer = await http.get(path)
            assert answer.status_code == 404, path
            assert parse(ERROR, answer.json())["path"] == path


async def test_wrong_passwords_are_401_then_locked_and_live_sessions_go_on(phone: Phone, server: ServerProcess):
    async with Phone(server.url, username=phone.username) as guesser:
        statuses = []
        for _ in range(6):
            with pytest.raises(Refused) as caught:
                await guesser.sign_in("Wrong1234")
            statuses.append(caught.value.status)
    assert statuses[:4] == [401] * 4
    assert statuses[-1] == 403
    assert (await phone.me())["username"] == phone.username


async def test_both_slashes_no_redirect_and_the_headers(phone: Phone, server: ServerProcess):
    assert phone.tokens
    bearer = {"authorization": f"Bearer {phone.tokens['access_token']}"}
    async with httpx.AsyncClient(base_url=server.url, headers=bearer) as http:
        for path in ("/environments", "/environments/", "/templates", "/templates/", "/auth/me", "/auth/me/"):
            answer = await http.get(f"/api/v1{path}", headers={"x-request-id": "abc-123"})
            assert answer.status_code == 200, path
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-request-id"] == "abc-123"
        for path in ("/health", "/health/ready", "/health/live", "/api/v1/health", "/api/v1/info", "/"):
            assert (await http.get(path)).status_code == 200, path


async def test_browsers_are_told_who_may_call(server: ServerProcess):
    async with httpx.AsyncClient(base_url=server.url) as http:
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        allowed = await http.options("/api/v1/environments/", headers={"origin": "https://app.example.org", **asked})
        assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
        assert "POST" in allowed.headers["access-control-allow-methods"]
        other = await http.options("/api/v1/environments/", headers={"origin": "https://evil.example.org", **asked})
        assert "access-control-allow-origin" not in other.headers
