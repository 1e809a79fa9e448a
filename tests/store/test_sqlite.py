"""What is particular to the SQLite adapter: the file, its lock, its migrations, its worker and a full disk."""

import asyncio
import resource
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from devpocket.clock import SystemClock
from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.store.errors import StoreCorruptError
from devpocket.store.indexes import COLLECTIONS, CollectionSpec
from devpocket.store.port import Key
from devpocket.store.selection import paged, selected
from devpocket.store.sqlite import statements
from devpocket.store.sqlite.schema import MIGRATIONS, Migration, decoded, encoded
from devpocket.store.sqlite.store import SqliteStore
from tests.store.conftest import MovableClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.db"


@pytest.fixture
async def store(path: Path, clock: MovableClock) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(path, clock)
    await opened.start()
    yield opened
    await opened.close()


async def _refusal(path: Path, clock: MovableClock, migrations: tuple[Migration, ...] = MIGRATIONS) -> str:
    with pytest.raises(ConfigurationError) as refused:
        await SqliteStore(path, clock, migrations).start()
    message = f"{type(refused.value).__name__}: {refused.value}"
    assert "\n" not in message
    return message


async def _metric_rows(store: SqliteStore) -> int:
    rows: int = await store._worker.read(lambda db: db.execute("SELECT count(*) FROM metrics").fetchone()[0])
    return rows


async def test_the_file_and_its_directory_are_private(store: SqliteStore, path: Path) -> None:
    await store.settings.insert({"_id": "a"})
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


async def test_every_commit_waits_for_the_disk(store: SqliteStore) -> None:
    names = ("journal_mode", "synchronous", "locking_mode")
    found = await store._worker.read(lambda db: [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names])
    assert found == ["wal", 2, "exclusive"]


async def test_a_second_opener_is_told_how_to_scale(store: SqliteStore, path: Path, clock: MovableClock) -> None:
    message = await _refusal(path, clock)
    assert message.startswith("StoreLockedError")
    assert "in use by another process" in message
    assert "MongoDB" in message
    await store.settings.insert({"_id": "a"})


async def test_a_second_process_is_refused(store: SqliteStore, path: Path) -> None:
    code = (
        "import asyncio, sys; from devpocket.clock import SystemClock; from devpocket.store import open_store; "
        "asyncio.run(open_store(sys.argv[1], SystemClock()).start())"
    )
    python = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, f"sqlite:///{path}", stderr=asyncio.subprocess.PIPE
    )
    _, errors = await python.communicate()
    assert python.returncode == 1
    assert b"StoreLockedError" in errors
    assert b"MongoDB" in errors


async def test_the_file_is_free_after_close(store: SqliteStore, path: Path, clock: MovableClock) -> None:
    await store.settings.insert({"_id": "a"})
    await store.close()
    await store.close()
    with pytest.raises(UnavailableError):
        await store.settings.get("a")
    again = SqliteStore(path, clock)
    await again.start()
    assert await again.settings.get("a")
    await again.close()


async def test_a_missing_directory_is_named(tmp_path: Path, clock: MovableClock) -> None:
    assert str(tmp_path / "no") in await _refusal(tmp_path / "no" / "such" / "store.db", clock)
    assert not (tmp_path / "no").exists()


async def test_a_directory_is_no_file(tmp_path: Path, clock: MovableClock) -> None:
    assert "cannot be opened for writing: Is a directory" in await _refusal(tmp_path, clock)


async def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, clock: MovableClock) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"not a database, but dear to somebody" * 100)
    with pytest.raises(StoreCorruptError, match="damaged or not an SQLite database"):
        await SqliteStore(path, clock).start()
    assert path.read_bytes().startswith(b"not a database")


async def test_the_file_of_another_program_is_left_alone(tmp_path: Path, clock: MovableClock) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE users (name)")
    foreign.close()
    assert "another program" in await _refusal(path, clock)


async def test_close_finishes_what_was_accepted(path: Path, clock: MovableClock) -> None:
    store = SqliteStore(path, clock)
    await store.start()
    inserts = [asyncio.create_task(store.settings.insert({"_id": f"{number}"})) for number in range(600)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*inserts)
    await (again := SqliteStore(path, clock)).start()
    assert await again.settings.count("id") == 600
    await again.close()


async def test_the_sweep_removes_what_has_expired_from_the_file(store: SqliteStore, clock: MovableClock) -> None:
    ends_at = clock.now() + timedelta(seconds=60)
    await store.metrics.insert_many([{"_id": f"{number}", "expires_at": ends_at} for number in range(1100)])
    await store.metrics.insert({"_id": "kept", "expires_at": ends_at + timedelta(seconds=60)})
    assert await store.sweep() == 0
    clock.advance(61)
    assert await store.sweep() == 1100
    assert await _metric_rows(store) == 1


async def test_the_sweeper_works_by_itself(path: Path, clock: MovableClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devpocket.store.sqlite.store.SWEEP_EVERY_S", 0.01)
    store = SqliteStore(path, clock)
    await store.start()
    await store.metrics.insert({"_id": "old", "expires_at": clock.now() - timedelta(seconds=1)})
    while await _metric_rows(store):
        pass
    await store.close()


@contextmanager
def _full_disk(limit_bytes: int) -> Iterator[None]:
    """No file may grow beyond the limit: writes fail as they do on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def _until_refused(fill: Callable[[int], Awaitable[None]]) -> None:
    for number in range(100):
        await fill(number)


async def test_a_full_disk_refuses_writes_and_recovers(store: SqliteStore, path: Path, clock: MovableClock) -> None:
    kept: list[str] = []

    async def fill(number: int) -> None:
        await store.settings.insert({"_id": f"{number:04}", "filling": b"x" * 50_000})
        kept.append(f"{number:04}")

    with _full_disk(2_000_000):
        with pytest.raises(UnavailableError) as refused:
            await _until_refused(fill)
        assert refused.value.retry_after_s
        results = await asyncio.gather(fill(200), store.settings.get("0000"), fill(201), return_exceptions=True)
        assert [type(result) for result in results] == [UnavailableError, dict, UnavailableError]
    await fill(300)
    await store.close()
    await (again := SqliteStore(path, clock)).start()
    assert [found["_id"] for found in await again.settings.query("id")] == kept
    await again.close()


def _rename(connection: sqlite3.Connection) -> None:
    for document_id, body in connection.execute('SELECT "_id", "body" FROM "settings"').fetchall():
        document = decoded(body)
        document["new"] = document.pop("old")
        connection.execute('UPDATE "settings" SET "body" = ? WHERE "_id" = ?', (encoded(document), document_id))


def _fail(connection: sqlite3.Connection) -> None:
    connection.execute('DELETE FROM "settings"')
    raise ConfigurationError("this step cannot be made")


async def test_migrations_are_made_once_and_whole(store: SqliteStore, path: Path, clock: MovableClock) -> None:
    await store.settings.insert({"_id": "a", "old": 1})
    await store.close()
    for _ in range(2):
        migrated = SqliteStore(path, clock, (*MIGRATIONS, _rename))
        await migrated.start()
        assert await migrated.settings.get("a") == {"_id": "a", "version": 1, "new": 1}
        await migrated.close()
    assert await _refusal(path, clock, (*MIGRATIONS, _rename, _fail)) == "ConfigurationError: this step cannot be made"
    assert "newer version" in await _refusal(path, clock)
    await (again := SqliteStore(path, clock, (*MIGRATIONS, _rename))).start()
    assert await again.settings.count("id") == 1
    await again.close()


async def test_a_new_row_of_the_table_needs_no_migration(store: SqliteStore, path: Path, clock: MovableClock) -> None:
    await store.users.insert({"_id": "a", "google_id": "g"})
    await store.close()
    with sqlite3.connect(path) as older:
        older.execute('DROP INDEX "users.google_id"')
        older.execute('ALTER TABLE "users" DROP COLUMN "google_id"')
        older.execute('DROP INDEX "users.email_key"')
        older.execute('CREATE INDEX "users.email_key" ON "users" ("email_key")')
        older.execute('DROP TABLE "mails"')
    older.close()
    await (again := SqliteStore(path, clock)).start()
    assert (await again.users.get_by("google_id", "g") or {})["_id"] == "a"
    assert (await again.inspect()).index_differences == ()
    assert await again.mails.count("id") == 0
    await again.close()


async def test_check_names_a_wrong_index(store: SqliteStore) -> None:
    await store._worker.write(lambda db: db.execute('DROP INDEX "users.email_key"'))
    await store._worker.write(lambda db: db.execute('DROP INDEX "users.google_id"'))
    await store._worker.write(lambda db: db.execute('CREATE INDEX "users.google_id" ON "users" ("google_id")'))
    found = (await store.inspect()).index_differences
    assert found[0] == "users.email_key is missing"
    assert found[1].startswith("users.google_id is 'CREATE INDEX")
    assert len(found) == 2


@pytest.mark.parametrize("spec", COLLECTIONS, ids=lambda spec: spec.name)
async def test_every_query_is_answered_by_its_index(store: SqliteStore, spec: CollectionSpec) -> None:
    for index in spec.indexes:
        equal: tuple[Key, ...] = ("x",) * (len(index.fields) - 1)
        selection = selected(spec, index.name, equal, None, None)
        page = paged(selection, descending=True, limit=10, after={"_id": "b", index.fields[-1]: "b"})
        for tail, values in statements.pages(selection, page, None):
            statement = f'EXPLAIN QUERY PLAN SELECT "body" FROM "{spec.name}" WHERE {tail}'  # noqa: S608 - names are ours
            plan = await store._worker.read(partial(_rows, statement=statement, values=[*values, 10]))
            assert f"USING INDEX {spec.name}.{index.name}" in plan[0][3]
            assert index.unique or len(plan) == 1, "needs no sorting"


def _rows(connection: sqlite3.Connection, statement: str, values: list[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(statement, values).fetchall()


async def test_a_killed_owner_holds_nothing_up_after_a_restart(tmp_path):
    first = SqliteStore(tmp_path / "leases.db", SystemClock())
    await first.start()
    lease = await first.acquire_lease("e1", "killed", 3600)
    released = await first.acquire_lease("e2", "stopped", 3600)
    assert lease is not None
    assert released is not None
    await first.release_lease(released)
    await first.close()
    second = SqliteStore(tmp_path / "leases.db", SystemClock())
    await second.start()
    try:
        assert [each.id for each in await second.expired_leases()] == ["e1"]
        taken = await second.acquire_lease("e1", "next", 10)
        assert taken is not None
        assert taken.fence == lease.fence + 1
    finally:
        await second.close()
