"""The contract for expiry and for the history of metrics."""

from datetime import UTC, datetime, timedelta

import pytest

from devpocket.store.errors import DuplicateKeyError, MissingDocumentError
from devpocket.store.port import MetricsBucket, Store
from tests.store.conftest import MovableClock

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_what_has_expired_is_invisible_at_once(store: Store, clock: MovableClock) -> None:
    ends_at = clock.now() + timedelta(seconds=60)
    await store.sessions.insert(
        {"_id": "s", "token_hash": "h", "user_id": "u", "created_at": START, "expires_at": ends_at}
    )
    await store.sessions.insert({"_id": "t", "user_id": "u", "created_at": START, "expires_at": None})
    clock.advance(59)
    assert await store.sessions.get("s")
    clock.advance(1.1)
    assert await store.sessions.get("s") is None
    assert await store.sessions.get_by("token_hash", "h") is None
    assert [found["_id"] for found in await store.sessions.query("user", "u")] == ["t"]
    assert await store.sessions.count("user", "u") == 1
    assert await store.sessions.delete("s") is False
    with pytest.raises(MissingDocumentError):
        await store.sessions.replace({"_id": "s", "version": 1})


async def test_what_has_expired_takes_no_key(store: Store, clock: MovableClock) -> None:
    ends_at = clock.now() + timedelta(seconds=60)
    await store.sessions.insert({"_id": "s", "token_hash": "h", "expires_at": ends_at})
    await store.sessions.insert({"_id": "live", "token_hash": "i"})
    clock.advance(61)
    await store.sessions.insert({"_id": "t", "token_hash": "h"})
    await store.sessions.insert({"_id": "s", "token_hash": "j"})
    with pytest.raises(DuplicateKeyError):
        await store.sessions.insert({"_id": "u", "token_hash": "i"})
    assert await store.sessions.count("id") == 3


async def test_history_averages_percentages_and_takes_the_highest_counters(store: Store, clock: MovableClock) -> None:
    samples = [
        {
            "_id": f"{number}",
            "environment_id": "e",
            "at": START + timedelta(seconds=15 * number),
            "cpu_percent": 10.0 * number,
            "memory_percent": None if number == 1 else 50.0,
            "network_in_bytes": 1000 * number,
        }
        for number in range(6)
    ]
    other = {"_id": "other", "environment_id": "f", "at": START, "cpu_percent": 99.0}
    gone = {"_id": "gone", "environment_id": "e", "at": START, "cpu_percent": 99.0, "expires_at": clock.now()}
    await store.metrics.insert_many([*samples, other, gone])
    history = await store.metrics_history("e", START, START + timedelta(seconds=75), 60)
    assert history == [
        MetricsBucket(START, 4, 15.0, 50.0, None, 3000, None),
        MetricsBucket(START + timedelta(seconds=60), 1, 40.0, 50.0, None, 4000, None),
    ]
    assert await store.metrics_history("nobody", START, START + timedelta(days=7), 3600) == []
    with pytest.raises(ValueError, match="too fine"):
        await store.metrics_history("e", START, START + timedelta(days=7), 1)


async def test_history_over_gaps_and_an_odd_start(store: Store) -> None:
    for second in (59, 61, 300):
        await store.metrics.insert(
            {"_id": f"{second}", "environment_id": "e", "at": START + timedelta(seconds=second), "cpu_percent": 1.0}
        )
    history = await store.metrics_history("e", START + timedelta(seconds=30), START + timedelta(hours=1), 60)
    assert [(bucket.at - START).total_seconds() for bucket in history] == [0, 60, 300]


async def test_health(store: Store) -> None:
    health = await store.check()
    assert health.name in {"sqlite", "mongodb"}
    assert health.version[0].isdigit()
    assert 0 < health.latency_s < 5
    assert (await store.inspect()).index_differences == ()
