"""Too many requests: who is counted, and what they are told."""

import time

import httpx

from tests.e2e.server import ServerProcess
from tests.handlers.conftest import register


def test_limits_count_by_user_and_by_address_and_say_when_to_come_back(strict_server: ServerProcess) -> None:
    # One test: the buckets of this server fill within the hour, so the order of the calls is the story.
    url = strict_server.url
    person = register(strict_server)
    first = httpx.get(f"{url}/api/v1/auth/me", headers=person.headers)
    assert first.headers["x-ratelimit-limit"] == "20"
    assert first.headers["x-ratelimit-remaining"] == "19"
    assert time.time() - 5 <= int(first.headers["x-ratelimit-reset"]) <= time.time() + 3700
    spent = [httpx.get(f"{url}/api/v1/auth/me", headers=person.headers) for _ in range(20)]
    assert [answer.status_code for answer in spent] == [200] * 19 + [429]
    refused = spent[-1]
    body = refused.json()
    assert body["code"] == "rate_limited"
    assert 1 <= body["retry_after"] <= 60
    assert refused.headers["retry-after"] == str(body["retry_after"])
    assert refused.headers["x-ratelimit-remaining"] == "0"
    wrong = {"username_or_email": person.username, "password": "x"}
    tries = [httpx.post(f"{url}/api/v1/auth/login", json=wrong).status_code for _ in range(8)]
    assert 429 in tries
    assert tries == sorted(tries)
    assert httpx.get(f"{url}/health").status_code == 200
    guesses = [httpx.get(f"{url}/api/v1/auth/me", headers={"Authorization": "Bearer x"}) for _ in range(25)]
    assert guesses[0].status_code == 401
    assert guesses[-1].status_code == 429
    for method, path in (("GET", "/nowhere"), ("PATCH", "/api/v1/auth/me"), ("HEAD", "/api/v1/auth/login")):
        answer = httpx.request(method, f"{url}{path}")
        assert (answer.status_code, "retry-after" in answer.headers) == (429, True), path
