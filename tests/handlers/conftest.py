"""Fixtures of the handlers' tests.

``server``         one real server process for the whole folder, with limits far away
``strict_server``  another whose limits are near: 5 sign-in calls, 20 requests, 1 s for headers and bodies
``api``            an HTTP client of ``server``
``person``         somebody who is signed in at ``server``
``running``        an environment of that person that runs
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.e2e.server import ServerProcess, wait_until

PASSWORD = "Tr4in-tunnel"
OTHER_ORIGIN = "https://app.example.org"
PROXY = "127.0.0.9"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with tokens."""

    username: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    process = ServerProcess(
        RATE_LIMIT_MAX_REQUESTS="1000000",
        AUTH_RATE_LIMIT_MAX_REQUESTS="1000000",
        ALLOWED_ORIGINS=OTHER_ORIGIN,
        TRUSTED_PROXIES=PROXY,
        LOG_FORMAT="json",
        LOG_LEVEL="DEBUG",
        SOCKET_PING_INTERVAL="1s",
        SOCKET_IDLE_TIMEOUT="2s",
        METRICS_TOKEN="figures-for-the-operator",
    )
    try:
        process.start()
        yield process
    finally:
        process.close()


@pytest.fixture(scope="session")
def strict_server() -> Iterator[ServerProcess]:
    process = ServerProcess(
        RATE_LIMIT_MAX_REQUESTS="20",
        RATE_LIMIT_WINDOW="1h",
        AUTH_RATE_LIMIT_MAX_REQUESTS="5",
        AUTH_RATE_LIMIT_WINDOW="1h",
        HEADER_TIMEOUT="1s",
        BASE_URL="https://devpocket.example.org",
    )
    try:
        process.start()
        yield process
    finally:
        process.close()


@pytest.fixture
def api(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def person(server: ServerProcess) -> Person:
    return register(server)


@pytest.fixture(scope="session")
def running(server: ServerProcess, person: Person) -> str:
    return make_environment(server, person)


def register(server: ServerProcess) -> Person:
    """Return somebody new."""
    username = f"tester_{next(_numbers)}_{time.monotonic_ns() % 10**9}"
    body = {"username": username, "email": f"{username}@example.org", "password": PASSWORD}
    answer = httpx.post(f"{server.url}/api/v1/auth/register", json=body, timeout=30)
    assert answer.status_code == 201, answer.text
    tokens: dict[str, Any] = answer.json()
    return Person(username, tokens["access_token"], tokens["refresh_token"])


def make_environment(server: ServerProcess, person: Person) -> str:
    """Return the id of an environment once it runs."""
    with httpx.Client(base_url=server.url, headers=person.headers, timeout=30) as client:
        made = client.post("/api/v1/environments/", json={"name": "My Awesome Project", "template_id": "ubuntu"})
        assert made.status_code == 201, made.text
        environment_id: str = made.json()["id"]
        address = f"/api/v1/environments/{environment_id}"
        wait_until(lambda: client.get(address).json()["status"] == "running", "the environment's start")
    return environment_id
