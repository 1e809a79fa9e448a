"""Rate limits: told in headers, refused with a time to wait, per user and per address, over all processes."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.accounts.conftest import Cluster, running
from tests.accounts.people import Person, Web
from tests.e2e.server import ServerProcess

LIMIT, AUTH_LIMIT = 30, 8
FEW = {
    "RATE_LIMIT_MAX_REQUESTS": str(LIMIT),
    "RATE_LIMIT_WINDOW": "10m",
    "AUTH_RATE_LIMIT_MAX_REQUESTS": str(AUTH_LIMIT),
    "AUTH_RATE_LIMIT_WINDOW": "10m",
}
NAMES = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@pytest.fixture(scope="module")
def strict() -> Iterator[ServerProcess]:
    with running(FEW, TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8") as process:
        yield process


@pytest.fixture
async def web(strict: ServerProcess, request: pytest.FixtureRequest) -> AsyncIterator[Web]:
    """Requests from an address that no other test of this module uses."""
    number = sorted(name for name in dir(request.module) if name.startswith("test_")).index(request.function.__name__)
    async with Web(strict.url, address=f"203.0.113.{number + 1}") as web:
        yield web


def check_refused(answer: httpx.Response) -> int:
    """Check everything that a 429 says; return how long it tells to wait."""
    assert answer.status_code == 429
    wait_s = int(answer.headers["retry-after"])
    assert 1 <= wait_s <= 60
    assert answer.json()["retry_after"] == wait_s
    assert answer.json()["code"] == "rate_limited"
    assert answer.headers["x-ratelimit-remaining"] == "0"
    return wait_s


async def test_a_user_has_so_many_requests_and_is_told_how_many_are_left(web: Web):
    person = await Person(web).sign_up()
    left = []
    for _ in range(LIMIT):
        answer = await person.get("/auth/me")
        assert answer.status_code == 200
        limit, remaining, reset = (int(answer.headers[name]) for name in NAMES)
        assert limit == LIMIT
        assert time.time() - 5 < reset < time.time() + 605
        left.append(remaining)
    assert left == list(range(LIMIT - 1, -1, -1))
    waits_s = [check_refused(await person.get("/auth/me")) for _ in range(12)]
    assert len(set(waits_s)) > 1, "clients that were refused together do not come back together"
    other = Person(web)
    await other.sign_up()
    assert (await other.get("/auth/me")).status_code == 200, "the limit is the user's, not the address's"


async def test_sign_in_calls_are_limited_by_address(web: Web, strict: ServerProcess):
    person = await Person(web).sign_up()
    for _ in range(AUTH_LIMIT - 1):
        assert (await person.try_sign_in()).headers["x-ratelimit-limit"] == str(AUTH_LIMIT)
    calls = {
        "/auth/login": {"username_or_email": "x", "password": "x"},
        "/auth/register": {},
        "/auth/refresh": {},
        "/auth/google": {},
        "/auth/forgot-password": {},
        "/auth/reset-password": {},
        "/auth/verify-email/link": {},
    }
    for path, body in calls.items():
        check_refused(await web.post(path, body))
    async with Web(strict.url, address="192.0.2.77") as elsewhere:
        assert (await person.at(elsewhere).try_sign_in()).status_code == 200
    assert await person.is_signed_in(), "who is signed in goes on"
    assert await web.metric('devpocket_limits_refused_total{limit="sign_in"}') >= len(calls)


async def test_guessing_tokens_is_limited_by_address(web: Web):
    statuses = [(await web.call("GET", "/auth/me", token=f"x.y.{i}")).status_code for i in range(LIMIT + 5)]
    assert statuses == [401] * LIMIT + [429] * 5
    check_refused(await web.call("GET", "/auth/me"))


async def test_what_is_not_there_is_counted_too(web: Web):
    wanted = [("GET", "/nothing"), ("PATCH", "/api/v1/auth/login"), ("GET", "/docs"), ("GET", "/redoc"), ("GET", "/")]
    left = []
    for method, path in wanted:
        answer = await web.http.request(method, path)
        assert int(answer.headers["x-ratelimit-limit"]) == LIMIT
        left.append(int(answer.headers["x-ratelimit-remaining"]))
    assert left == list(range(LIMIT - 1, LIMIT - 1 - len(wanted), -1))


async def test_opening_sockets_counts_as_requests_do(web: Web):
    person = await Person(web).sign_up()
    address = f"{web.url.replace('http', 'ws', 1)}/api/v1/ws/logs/{'0' * 24}?token={person.access_token}"
    codes = []
    for _ in range(LIMIT + 3):
        async with connect(address, proxy=None) as socket:
            await socket.wait_closed()
            codes.append(socket.close_code)
    assert codes == [1008] * LIMIT + [1013] * 3
    check_refused(await person.get("/auth/me"))


async def test_sockets_without_a_good_token_are_counted_by_address(web: Web):
    address = f"{web.url.replace('http', 'ws', 1)}/api/v1/ws/logs/{'0' * 24}"
    codes = []
    for number in range(LIMIT + 3):
        forwarded = {"x-forwarded-for": web.http.headers["x-forwarded-for"]}
        async with connect(f"{address}?token=x.y.{number}", additional_headers=forwarded, proxy=None) as socket:
            await socket.wait_closed()
            codes.append(socket.close_code)
    assert codes == [1008] * LIMIT + [1013] * 3
    check_refused(await web.call("GET", "/auth/me"))


async def test_health_is_not_limited(web: Web):
    answers = await asyncio.gather(*(web.http.get("/health") for _ in range(LIMIT * 3)))
    assert {answer.status_code for answer in answers} == {200}


async def test_a_forwarded_address_counts_from_the_last_that_is_no_proxy(strict: ServerProcess):
    async def limit_left(forwarded: str) -> int:
        headers = {"x-forwarded-for": forwarded}
        async with httpx.AsyncClient(base_url=strict.url, headers=headers) as http:
            answer = await http.post("/api/v1/auth/login", json={})
            return int(answer.headers["x-ratelimit-remaining"])

    first = await limit_left("192.0.2.50")
    assert await limit_left("1.2.3.4, 192.0.2.50") == first - 1, "what a client writes itself is not believed"
    assert await limit_left("192.0.2.50, 10.1.2.3") == first - 2, "a trusted proxy is seen through"
    assert await limit_left("192.0.2.50:4711") == first - 3
    assert await limit_left("::ffff:192.0.2.50") == first - 4
    assert await limit_left("192.0.2.51") == first


async def test_without_trusted_proxies_nothing_is_believed():
    with running(FEW, TRUSTED_PROXIES="") as process:
        async with httpx.AsyncClient(base_url=process.url) as http:
            left = []
            for host in range(4):
                headers = {"x-forwarded-for": f"192.0.2.{host}", "x-real-ip": "192.0.2.1", "forwarded": "for=1.2.3.4"}
                answer = await http.post("/api/v1/auth/login", json={}, headers=headers)
                left.append(int(answer.headers["x-ratelimit-remaining"]))
            assert left == [AUTH_LIMIT - 1, AUTH_LIMIT - 2, AUTH_LIMIT - 3, AUTH_LIMIT - 4]
            plain = await http.get("/health", headers={"x-forwarded-proto": "https"})
            assert "strict-transport-security" not in plain.headers


async def test_processes_share_what_is_left(both: tuple[Web, Web], cluster: Cluster):
    person = await Person(both[0]).sign_up()
    left = [int((await person.at(both[i % 2]).get("/auth/me")).headers["x-ratelimit-remaining"]) for i in range(6)]
    assert all(later <= earlier for earlier, later in pairwise(left)), left
