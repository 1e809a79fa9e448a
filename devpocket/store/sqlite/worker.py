"""The one thread that owns the connection, and the group commit.

Coroutines hand jobs over and wait. The thread takes all that wait, runs them in one transaction, each write in its own
savepoint, and answers after the commit: many writers, one fsync, and nothing is acknowledged that a power cut could
take back. One connection, because SQLite before 3.51.3 has a rare WAL defect that needs two.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from devpocket.errors import UnavailableError

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

MAX_BATCH = 256
MAX_WAITING = 10_000
_RETRY_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class _Task:
    job: Job[Any]
    writes: bool
    answer: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Outcome:
    answer: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class _TransactionLostError(Exception):
    """SQLite has rolled the whole transaction back by itself (disk full, I/O error)."""


class Worker:
    """Runs jobs on the connection that ``connect`` opens, in order, off the event loop."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._finished = asyncio.Event()
        self._closed = False

    async def start(self) -> None:
        """Open the connection on the worker's own thread; raises what ``connect`` raises."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="store-sqlite", daemon=True)
        self._thread.start()
        await opened

    async def close(self) -> None:
        """Finish the jobs that were accepted, close the connection and end the thread."""
        self._closed = True
        if self._thread is None:
            return
        self._tasks.put(None)
        await self._finished.wait()
        self._thread.join()

    async def read(self, job: Job[T]) -> T:
        """Run a job that changes nothing. Cancelling is safe."""
        return await self._submit(job, writes=False)

    async def write(self, job: Job[T]) -> T:
        """Run a job whole or not at all; returns when it is on disk.

        Cancelling is safe: a job that has not begun is dropped, one that has begun is committed.
        """
        return await self._submit(job, writes=True)

    async def _submit(self, job: Job[T], *, writes: bool) -> T:
        if self._closed or self._thread is None:
            raise UnavailableError("The server is shutting down.", detail="the store is closed", retry_after_s=1)
        if self._waiting >= MAX_WAITING:
            detail = f"{self._waiting} jobs wait for the store"
            raise UnavailableError("The server is overloaded; try again.", detail=detail, retry_after_s=1)
        answer: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        self._tasks.put(_Task(job, writes, answer))
        return await answer

    # On the event loop.

    def _deliver(self, outcomes: list[_Outcome]) -> None:
        self._waiting -= len(outcomes)
        for outcome in outcomes:
            if outcome.answer.done():  # the caller was cancelled
                continue
            if outcome.error is not None:
                outcome.answer.set_exception(outcome.error)
            else:
                outcome.answer.set_result(outcome.result)

    def _opened(self, opened: asyncio.Future[None], error: Exception | None) -> None:
        if error is not None:
            self._closed = True
            self._finished.set()
        if opened.done():
            return
        if error is not None:
            opened.set_exception(error)
        else:
            opened.set_result(None)

    # On the worker's thread.

    def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            connection = self._connect()
        except Exception as error:
            self._loop.call_soon_threadsafe(self._opened, opened, error)
            return
        self._loop.call_soon_threadsafe(self._opened, opened, None)
        try:
            while batch := self._next_batch():
                self._loop.call_soon_threadsafe(self._deliver, _run_batch(connection, batch))
        finally:
            connection.close()
            self._loop.call_soon_threadsafe(self._finished.set)

    def _next_batch(self) -> list[_Task]:
        """Return all tasks that wait now, at least one; an empty list when the store closes."""
        batch: list[_Task] = []
        task = self._tasks.get()
        while task is not None:
            batch.append(task)
            if len(batch) == MAX_BATCH:
                return batch
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._tasks.put(None)  # these first, then the end
        return batch


def _run_batch(connection: sqlite3.Connection, batch: list[_Task]) -> list[_Outcome]:
    if not any(task.writes for task in batch):
        return [_attempted(connection, task) for task in batch]
    try:
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_attempted(connection, task) for task in batch]
        connection.execute("COMMIT")
    except Exception as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        refusal = _unavailable(error)
        # What the reads saw may be gone again, so they look once more.
        return [_Outcome(task.answer, error=refusal) if task.writes else _attempted(connection, task) for task in batch]
    return outcomes


def _attempted(connection: sqlite3.Connection, task: _Task) -> _Outcome:
    if task.answer.cancelled():
        return _Outcome(task.answer)
    if not task.writes:
        try:
            return _Outcome(task.answer, task.job(connection))
        except sqlite3.Error as error:
            return _Outcome(task.answer, error=_unavailable(error))
        except Exception as error:
            return _Outcome(task.answer, error=error)
    connection.execute("SAVEPOINT job")
    try:
        result = task.job(connection)
    except Exception as error:
        if not connection.in_transaction:
            raise _TransactionLostError(str(error)) from error
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return _Outcome(task.answer, error=_unavailable(error) if isinstance(error, sqlite3.Error) else error)
    connection.execute("RELEASE job")
    return _Outcome(task.answer, result)


def _unavailable(error: Exception) -> UnavailableError:
    detail = f"SQLite: {error}"
    return UnavailableError("The server cannot store data just now.", detail=detail, retry_after_s=_RETRY_AFTER_S)
