"""The worker's thread and its group commit."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from devpocket.errors import UnavailableError
from devpocket.store.sqlite import worker
from devpocket.store.sqlite.worker import Worker


def _connect() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE items (name PRIMARY KEY)")
    return connection


def _insert(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("INSERT INTO items VALUES (?)", (name,))


def _names(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM items ORDER BY name")]


@pytest.fixture
async def running() -> AsyncIterator[Worker]:
    started = Worker(_connect)
    await started.start()
    yield started
    await started.close()


@contextmanager
def _blocked(running: Worker) -> Iterator[asyncio.Task[bool]]:
    """Hold the worker up, so that what comes next waits in its queue."""
    may_go_on = threading.Event()
    yield asyncio.create_task(running.read(lambda _: may_go_on.wait(30)))
    may_go_on.set()


async def test_waiting_writers_share_one_commit(running: Worker) -> None:
    commits: list[str] = []
    await running.read(lambda db: db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None))
    with _blocked(running):
        await asyncio.sleep(0)
        writes = [asyncio.create_task(running.write(partial(_insert, name=f"{number:03}"))) for number in range(200)]
        await asyncio.sleep(0)
    await asyncio.gather(*writes)
    assert len(await running.read(_names)) == 200
    assert len(commits) <= 2  # the blocker's batch may have taken the first of them along


async def test_a_failing_job_takes_no_other_with_it(running: Worker) -> None:
    def half(connection: sqlite3.Connection) -> None:
        _insert(connection, "half")
        raise KeyError("a mistake")

    with _blocked(running):
        await asyncio.sleep(0)
        jobs = [
            asyncio.create_task(running.write(job))
            for job in (partial(_insert, name="a"), half, partial(_insert, name="a"), partial(_insert, name="b"))
        ]
        await asyncio.sleep(0)
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), KeyError, UnavailableError, type(None)]
    assert await running.read(_names) == ["a", "b"]


async def test_a_write_cancelled_before_it_began_is_not_made(running: Worker) -> None:
    with _blocked(running) as blocker:
        await asyncio.sleep(0)
        insert = asyncio.create_task(running.write(partial(_insert, name="a")))
        await asyncio.sleep(0)
        insert.cancel()
        with pytest.raises(asyncio.CancelledError):
            await insert
    assert await blocker
    assert await running.read(_names) == []
    assert running._waiting == 0


async def test_more_jobs_than_can_wait_are_refused(running: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MAX_WAITING", 3)
    with _blocked(running):
        await asyncio.sleep(0)
        jobs = [asyncio.create_task(running.write(partial(_insert, name=f"{number}"))) for number in range(10)]
        await asyncio.wait(jobs[2:])
        assert {type(job.exception()) for job in jobs[2:]} == {UnavailableError}
    await asyncio.gather(*jobs[:2])
    assert await running.read(_names) == ["0", "1"]


async def test_what_cannot_be_opened_is_told_and_closes_in_peace() -> None:
    def broken() -> sqlite3.Connection:
        raise ValueError("no such thing")

    failing = Worker(broken)
    with pytest.raises(ValueError, match="no such thing"):
        await failing.start()
    with pytest.raises(UnavailableError):
        await failing.read(_names)
    await failing.close()


async def test_close_without_start_is_harmless() -> None:
    await Worker(_connect).close()


async def test_close_ends_the_thread(running: Worker) -> None:
    await running.close()
    assert "store-sqlite" not in {thread.name for thread in threading.enumerate()}
