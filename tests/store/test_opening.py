"""From a URL to a store, and one clear line for every other URL."""

from pathlib import Path

import pytest

from devpocket.errors import ConfigurationError
from devpocket.store import open_store
from devpocket.store.mongo.store import MongoStore
from devpocket.store.sqlite.store import SqliteStore
from tests.store.conftest import MovableClock


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///devpocket.db", "devpocket.db"),
        ("sqlite:///data/devpocket.db", "data/devpocket.db"),
        ("sqlite:////var/lib/devpocket.db", "/var/lib/devpocket.db"),
        ("sqlite:////var/lib/with space & ü.db", "/var/lib/with space & ü.db"),
    ],
)
def test_sqlite_urls_name_a_file(url: str, path: str, clock: MovableClock) -> None:
    store = open_store(url, clock)
    assert isinstance(store, SqliteStore)
    assert store._path == Path(path)


async def test_mongodb_urls_name_a_server(clock: MovableClock) -> None:
    store = open_store("mongodb://ann:secret@db1:27017,db2/shop?w=1", clock)
    assert isinstance(store, MongoStore)
    assert store._link.hosts == "db1:27017,db2"
    assert store._link.database.name == "shop"
    assert store._link.database.client.write_concern.document == {"w": 1, "wtimeout": 5000}
    await store.close()
    default = open_store("mongodb://db1", clock)
    assert isinstance(default, MongoStore)
    assert default._link.database.name == "devpocket"
    assert default._link.database.client.write_concern.document == {"w": "majority", "wtimeout": 5000}
    await default.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "devpocket.db",
        "postgresql://ann:secret@db/x",
        "sqlite://",
        "sqlite:///",
        "sqlite://devpocket.db",
        "sqlite:///:memory:",
        "sqlite:///folder/",
        "mongodb://",
        "mongodb://ann:secret@db:port/x",
        "mongodb://ann:sec:ret@db/x",
    ],
)
def test_anything_else_is_one_clear_line_without_the_password(url: str, clock: MovableClock) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store(url, clock)
    message = str(refused.value)
    assert message.startswith("DATABASE_URL")
    assert "\n" not in message
    assert "secret" not in message
    assert "sec:ret" not in message
