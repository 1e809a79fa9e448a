"""Durable updates a second, against raw sqlite3 in the same run, and whether cost stays flat as users grow.

    python -m benchmarks.store [--seconds 2] [--users 100000] [--mongodb mongodb://127.0.0.1:27017/benchmark]

Raw is one thread that updates a blob and commits, with the store's own pragmas: what the disk and SQLite give.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from devpocket.clock import SystemClock
from devpocket.store import open_store
from devpocket.store.port import MAX_LIMIT, Document, Store

COROUTINES = 32
_BODY = b"x" * 600


def raw_updates_per_s(path: Path, seconds: float) -> float:
    """Update one row and commit, again and again."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE items (name TEXT PRIMARY KEY, body BLOB)")
    connection.execute("INSERT INTO items VALUES ('a', ?)", (_BODY,))
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        done += 1  # what is written must differ: SQLite writes no page that stays the same
        connection.execute("UPDATE items SET body = ? WHERE name = 'a'", (b"%d" % done + _BODY,))
    connection.close()
    return done / (time.perf_counter() - began)


async def updates_per_s(store: Store, coroutines: int, seconds: float) -> float:
    """Compare and set one document per coroutine, again and again."""
    ends = time.perf_counter() + seconds

    async def change(name: str) -> int:
        document: Document = {"_id": name, "version": 1, "filling": _BODY}
        await store.settings.insert(document)
        while time.perf_counter() < ends:
            document = await store.settings.replace(document)
        return int(document["version"])

    began = time.perf_counter()
    done = sum(await asyncio.gather(*(change(f"{coroutines}-{number}") for number in range(coroutines))))
    return done / (time.perf_counter() - began)


async def add_users(store: Store, first: int, last: int) -> None:
    """Insert users with three environments each."""
    now = SystemClock().now()
    for start in range(first, last, MAX_LIMIT):
        numbers = range(start, min(start + MAX_LIMIT, last))
        await store.users.insert_many(
            [{"_id": f"u{n}", "email_key": f"{n}@x", "username_key": f"n{n}"} for n in numbers]
        )
        await store.environments.insert_many(
            [
                {
                    "_id": f"e{n}-{each}",
                    "user_id": f"u{n}",
                    "name_key": f"{each}",
                    "phase": "stopped",
                    "settled": True,
                    "updated_at": now - timedelta(seconds=n),
                }
                for n in numbers
                for each in range(3)
            ]
        )


async def request_cost_s(store: Store, users: int) -> dict[str, float]:
    """Return the seconds of the store's part of three requests, averaged over users spread evenly."""
    number = 300
    names = [f"u{users * each // number}" for each in range(number)]

    async def change(name: str) -> None:
        found = await store.environments.get_by("user_name", name, "1")
        assert found is not None
        await store.environments.replace(found)

    def listed(name: str) -> Awaitable[list[Document]]:
        return store.environments.query("user_updated", name, descending=True)

    requests: dict[str, Callable[[str], Awaitable[object]]] = {"list": listed, "get": store.users.get, "change": change}
    costs: dict[str, float] = {}
    for request, call in requests.items():
        began = time.perf_counter()
        for name in names:
            await call(name)
        costs[request] = (time.perf_counter() - began) / number
    return costs


async def growth(store: Store, users: int) -> None:
    """Print the cost of requests with few and with many users."""
    await add_users(store, 0, 100)
    few = await request_cost_s(store, 100)
    await add_users(store, 100, users)
    many = await request_cost_s(store, users)
    for request, cost_s in few.items():
        figures = f"{cost_s * 1e6:6.0f} us at 100 users, {many[request] * 1e6:6.0f} us at {users}"
        print(f"{request:>8}: {figures}: {many[request] / cost_s:.2f} times")


async def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Print all figures."""
    raw = raw_updates_per_s(folder / "raw.db", arguments.seconds)
    print(f"raw sqlite3, one commit each     {raw:8.0f} updates/s")
    url = arguments.mongodb or f"sqlite:///{folder}/store.db"
    store = open_store(url, SystemClock())
    await store.start()
    for coroutines in (1, COROUTINES):
        rate = await updates_per_s(store, coroutines, arguments.seconds)
        print(f"store from {coroutines:2} coroutine(s)       {rate:8.0f} updates/s, {rate / raw:.2f} times raw")
    await growth(store, arguments.users)
    await store.close()


def main() -> None:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--mongodb", help="measure this empty database instead of SQLite")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()
