"""Samples of use: how often they are taken, and that each is written once, whatever happens to the store meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.ports import Ports
from actors.samples import MAXIMUM_WAITING, Samples
from actors.upkeep import Upkeep
from devpocket.errors import UnavailableError
from devpocket.ids import EnvironmentId
from devpocket.runtime.port import Usage
from devpocket.settings import load_settings
from devpocket.store.port import Document
from devpocket.store.sqlite.store import SqliteStore
from tests.auth.clocks import SetClock
from tests.handlers.fakes import environment

TTL_S = 3600.0
ENVIRONMENT = EnvironmentId("e" * 24)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def store(tmp_path: Path, clock: SetClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "devpocket.db", clock)
    await store.start()
    yield store
    await store.close()


def usage(clock: SetClock, cpu_percent: float = 1.0) -> Usage:
    return Usage(
        measured_at=clock.now(),
        cpu_percent=cpu_percent,
        memory_percent=2.0,
        storage_percent=3.0,
        memory_bytes=1,
        storage_bytes=1,
        processes=1,
        network_received_bytes=4,
        network_sent_bytes=5,
        uptime_s=6.0,
    )


async def stored(store: SqliteStore) -> list[Document]:
    return await store.metrics.query("environment_at", ENVIRONMENT, limit=1000)


def watched(clock: SetClock, data_dir: Path, samples: Samples, measured: list[float]) -> Upkeep:
    """Return the clockwork of an environment; ``measured`` gets the times at which its use is measured."""

    async def measure(_: EnvironmentId) -> Usage:
        measured.append(clock.now().timestamp())
        return usage(clock)

    runtime = SimpleNamespace(usage=measure)
    settings = load_settings(environ={"DATA_DIR": str(data_dir)}, dotenv=None)
    return Upkeep(cast("Ports", SimpleNamespace(clock=clock, settings=settings, runtime=runtime)), samples)


@pytest.mark.parametrize(("is_watched", "interval_s"), [(True, 15), (False, 60)])
async def test_a_sample_every_15_s_while_watched_and_every_60_s_otherwise(
    store: SqliteStore, clock: SetClock, tmp_path: Path, is_watched: bool, interval_s: int
) -> None:
    measured, samples = list[float](), Samples(store, clock, TTL_S)
    upkeep = watched(clock, tmp_path, samples, measured)
    began_s = clock.now().timestamp()
    for _ in range(3 * interval_s + 1):  # its actor looks every second
        await upkeep.sample(environment(), is_watched=is_watched)
        clock.advance(1)
    await samples.flush()
    assert [at - began_s for at in measured] == [0, interval_s, 2 * interval_s, 3 * interval_s]
    assert len(await stored(store)) == 4


async def test_a_clock_that_is_set_back_stops_neither_samples_nor_figures(
    store: SqliteStore, clock: SetClock, tmp_path: Path
) -> None:
    measured = list[float]()
    upkeep = watched(clock, tmp_path, Samples(store, clock, TTL_S), measured)
    await upkeep.sample(environment(), is_watched=False)
    clock.advance(-3600)
    await upkeep.sample(environment(), is_watched=False)
    assert measured == [clock.now().timestamp() + 3600, clock.now().timestamp()]


async def test_what_gathers_is_written_in_one_batch_and_expires(
    store: SqliteStore, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    insert_many = store.metrics.insert_many

    async def counted(documents: Sequence[Document]) -> None:
        batches.append(len(documents))
        await insert_many(documents)

    monkeypatch.setattr(store.metrics, "insert_many", counted)
    samples = Samples(store, clock, TTL_S)
    await samples.flush()
    for _ in range(20):
        samples.add(ENVIRONMENT, usage(clock))
        clock.advance(1)
    await samples.flush()
    await samples.flush()
    assert batches == [20]
    assert len(await stored(store)) == 20
    clock.advance(TTL_S - 10)
    assert len(await stored(store)) == 9
    clock.advance(10)
    assert await stored(store) == []


async def test_a_batch_that_was_written_by_half_is_completed_and_offered_no_more(
    store: SqliteStore, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[int] = []
    insert_many = store.metrics.insert_many

    async def breaks_in_the_middle(documents: Sequence[Document]) -> None:
        offered.append(len(documents))
        if len(offered) == 1:
            await insert_many(documents[::2])
            raise UnavailableError("The database does not answer just now.")
        await insert_many(documents)

    monkeypatch.setattr(store.metrics, "insert_many", breaks_in_the_middle)
    samples = Samples(store, clock, TTL_S)
    for number in range(7):
        samples.add(ENVIRONMENT, usage(clock, cpu_percent=float(number)))
    await samples.flush()
    assert len(await stored(store)) == 4
    samples.add(ENVIRONMENT, usage(clock, cpu_percent=7.0))
    for _ in range(3):
        await samples.flush()
    assert offered == [7, 8]
    assert sorted(each["cpu_percent"] for each in await stored(store)) == [float(number) for number in range(8)]


async def test_a_flush_that_is_cancelled_loses_nothing(
    store: SqliteStore, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_many, asked = store.metrics.insert_many, asyncio.Event()

    async def hangs(_: Sequence[Document]) -> None:
        asked.set()
        await asyncio.Event().wait()

    samples = Samples(store, clock, TTL_S)
    samples.add(ENVIRONMENT, usage(clock))
    monkeypatch.setattr(store.metrics, "insert_many", hangs)
    flushing = asyncio.create_task(samples.flush())
    await asked.wait()
    flushing.cancel()
    await asyncio.wait([flushing])
    monkeypatch.setattr(store.metrics, "insert_many", insert_many)
    await samples.flush()
    assert len(await stored(store)) == 1


async def test_while_the_store_is_away_the_newest_are_kept_up_to_a_bound(
    store: SqliteStore, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: Sequence[Document]) -> None:
        raise UnavailableError("The database does not answer just now.")

    insert_many = store.metrics.insert_many
    monkeypatch.setattr(store.metrics, "insert_many", away)
    samples = Samples(store, clock, TTL_S)
    one = usage(clock)
    for number in range(MAXIMUM_WAITING + 10):
        samples.add(ENVIRONMENT, replace(one, cpu_percent=float(number)))
        if number % 1000 == 0:
            await samples.flush()
    monkeypatch.setattr(store.metrics, "insert_many", insert_many)
    await samples.flush()
    assert await store.metrics.count("environment_at", ENVIRONMENT) == MAXIMUM_WAITING
    oldest: list[dict[str, Any]] = await store.metrics.query("id", limit=1)
    assert oldest[0]["cpu_percent"] >= 10
