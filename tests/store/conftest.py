"""The store under test: each test that takes ``store`` runs once over SQLite and once over MongoDB."""

import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pymongo import MongoClient

from devpocket.clock import SystemClock
from devpocket.store import open_store
from devpocket.store.port import Store
from tests.mongodb import mongodb_directory, mongodb_url, with_database

__all__ = ["mongodb_directory", "mongodb_url"]


class MovableClock:
    """The present moment, until it is moved."""

    def __init__(self) -> None:
        self._moved = timedelta()

    def now(self) -> datetime:
        """Return the moment that the test pretends."""
        return SystemClock().now() + self._moved

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._moved += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def mongo_database_url(mongodb_url: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(8)}"
    yield with_database(mongodb_url, name)
    with MongoClient[dict[str, object]](mongodb_url) as client:
        client.drop_database(name)


@pytest.fixture(params=["sqlite", "mongo"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/store.db"
    url: str = request.getfixturevalue("mongo_database_url")
    return url


@pytest.fixture
async def store(store_url: str, clock: MovableClock) -> AsyncIterator[Store]:
    opened = open_store(store_url, clock)
    await opened.start()
    yield opened
    await opened.close()
