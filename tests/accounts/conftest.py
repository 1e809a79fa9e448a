"""Fixtures of the account tests.

``server``   one process over SQLite for all tests of this folder, with cheap passwords and generous limits
``web``      sends requests to it;  ``people`` signs people up there, ``person`` one;  ``chief`` administers it
``cluster``  two processes over one MongoDB and one Redis, and a look into that MongoDB
"""

import secrets
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.accounts.mails import written_to
from tests.accounts.people import METRICS_TOKEN, PASSWORD, Person, Web
from tests.e2e.server import ServerProcess
from tests.mongodb import mongodb_url, with_database
from tests.redis_server import running_redis

__all__ = ["mongodb_url"]

ORIGIN = "https://app.example.org"
CHEAP = {
    "PASSWORD_TIME_COST": "1",
    "PASSWORD_MEMORY": "64KiB",
    "AUTH_RATE_LIMIT_MAX_REQUESTS": "1000000",
    "RATE_LIMIT_MAX_REQUESTS": "1000000",
    "TRUSTED_PROXIES": "127.0.0.1",
    "ALLOWED_ORIGINS": ORIGIN,
    "METRICS_TOKEN": METRICS_TOKEN,
}
"""Hashes that take no time, limits that nobody meets, and the word of this machine on where a request comes from."""

CHIEF = "chief"

SignUp = Callable[..., Awaitable[Person]]


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    with running(administrator=True) as process:
        yield process


class running:  # noqa: N801 - used like a function
    """A server process with :data:`CHEAP` settings and ``variables``, ended at the end of the block.

    With ``administrator`` there is one, by the name of :data:`CHIEF`.
    """

    def __init__(self, variables: Mapping[str, str] | None = None, *, administrator: bool = False, **more: str) -> None:
        self._process = ServerProcess(**{**CHEAP, **(variables or {}), **more})
        self._administrator = administrator

    def __enter__(self) -> ServerProcess:
        try:
            if self._administrator:
                made = create_admin(self._process, CHIEF, f"{CHIEF}@example.org")
                assert made.returncode == 0, made.stderr
            self._process.start()
        except BaseException:
            self._process.close()
            raise
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.close()


def create_admin(
    process: ServerProcess, username: str, email: str, password: str = PASSWORD
) -> "subprocess.CompletedProcess[str]":
    """Run ``create-admin`` as an operator does."""
    return process.run("create-admin", "--username", username, "--email", email, ADMIN_PASSWORD=password)


@pytest.fixture
async def web(server: ServerProcess) -> AsyncIterator[Web]:
    async with Web(server.url) as web:
        yield web


@pytest.fixture
def people(web: Web) -> SignUp:
    async def sign_up(**options: Any) -> Person:
        return await Person(web, **options).sign_up()

    return sign_up


@pytest.fixture
async def person(people: SignUp) -> Person:
    return await people()


@pytest.fixture
async def chief(web: Web) -> Person:
    return await Person(web, CHIEF).sign_in()


@dataclass(frozen=True)
class Cluster:
    """Two server processes that share everything."""

    processes: tuple[ServerProcess, ServerProcess]
    database: Database[dict[str, Any]]

    def mails_to(self, address: str, kind: str = "") -> list[EmailMessage]:
        """Return the mails to ``address`` that either process has written, oldest first."""
        found = [mail for process in self.processes for mail in written_to(process.data_dir, address, kind)]
        made_at = {document["_id"]: document["created_at"] for document in self.database.mails.find()}
        return sorted(found, key=lambda mail: made_at[mail["Message-ID"].strip("<>").partition("@")[0]])


@pytest.fixture(scope="session")
def cluster(mongodb_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    name = f"test_{secrets.token_hex(8)}"
    folder: Path = tmp_path_factory.mktemp("redis")
    with MongoClient[dict[str, Any]](mongodb_url, tz_aware=True) as client, running_redis(folder) as redis:
        shared = {"DATABASE_URL": with_database(mongodb_url, name), "REDIS_URL": str(redis.url)}
        with running(shared) as first, running(shared) as second:
            yield Cluster((first, second), client[name])
        client.drop_database(name)


@pytest.fixture
async def both(cluster: Cluster) -> AsyncIterator[tuple[Web, Web]]:
    first, second = cluster.processes
    async with Web(first.url) as one, Web(second.url) as other:
        yield one, other
