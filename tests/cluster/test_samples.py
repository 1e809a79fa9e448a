"""Samples of use as they are stored, and the figures and history that come of them."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devpocket.ids import new_id
from tests.cluster.pairs import Pair, eventually
from tests.phone.client import Phone, Refused

FLAT = {
    "cpu_usage",
    "memory_usage",
    "disk_usage",
    "storage_usage",
    "network_in",
    "network_out",
    "network_rx",
    "network_tx",
    "uptime",
    "timestamp",
    "last_updated",
}


def samples(pair: Pair, environment_id: str) -> list[dict[str, Any]]:
    return list(pair.database.metrics.find({"environment_id": environment_id}).sort("at", 1))


async def test_somebody_who_watches_through_any_process_has_it_sampled_more_often(
    pair: Pair, phones: list[Phone]
) -> None:
    environment_id = await pair.create(phones[0])  # here every second while watched, else every hour
    await eventually(lambda: samples(pair, environment_id), "the first sample")
    began_s = time.monotonic()
    async with phones[1].terminal(environment_id):
        assert pair.owner(environment_id) == 0, "the one who watches does so through the other process"
        await eventually(lambda: len(samples(pair, environment_id)) >= 4, "more samples")
        assert time.monotonic() - began_s > 2

    for sample in samples(pair, environment_id):
        assert sample["expires_at"] - sample["at"] == timedelta(days=30)
        assert sample["memory_percent"] > 0
        assert sample["storage_percent"] >= 0


async def test_figures_are_flat_and_the_history_is_in_buckets(pair: Pair, phones: list[Phone]) -> None:
    environment_id = await pair.create(phones[0])
    now = datetime.now(UTC)
    pair.database.metrics.insert_many(
        _sample(environment_id, now - timedelta(minutes=minutes), cpu_percent=float(minutes // 10 % 2))
        for minutes in range(30, 167 * 60, 10)
    )
    for hours, fewest, most in ((1, 3, 5), (24, 116, 122), (168, 116, 122)):
        body = (await phones[1].call("GET", f"/environments/{environment_id}/metrics?hours={hours}")).json()
        assert set(body) >= FLAT | {"environment_id", "history", "bucket_seconds"}
        assert body["bucket_seconds"] == hours * 30
        history = body["history"]
        assert fewest <= len(history) <= most, "the last half hour has none but those that are being taken"
        times = [datetime.fromisoformat(each["timestamp"]) for each in history]
        assert times == sorted(times)
        assert times[0] >= now - timedelta(hours=hours, seconds=body["bucket_seconds"])
        assert all(each["memory_usage"] == 50.0 for each in history[:-1])
    assert 0 < history[5]["cpu_usage"] < 1, "an average of several samples"
    plain = (await phones[0].call("GET", f"/environments/{environment_id}/metrics")).json()
    assert plain["bucket_seconds"] == 30, "an hour, when nothing is said"


@pytest.mark.parametrize(
    "hours", ["0", "169", "-1", "x", "1.5", "", "99999999999999999999", "1e3", "NaN", "1;2", "%00"]
)
async def test_hours_that_mean_nothing_are_refused_by_name(pair: Pair, phones: list[Phone], hours: str) -> None:
    with pytest.raises(Refused) as refused:
        await phones[0].call("GET", f"/environments/{new_id()}/metrics?hours={hours}")
    assert refused.value.status == 422
    assert "hours" in str(refused.value.body["errors"])


async def test_a_sample_that_has_expired_is_in_no_history(pair: Pair, phones: list[Phone]) -> None:
    environment_id = await pair.create(phones[0])
    now = datetime.now(UTC)
    expired = _sample(environment_id, now - timedelta(hours=20), cpu_percent=77.0)
    pair.database.metrics.insert_one({**expired, "expires_at": now - timedelta(seconds=1)})
    body = (await phones[0].call("GET", f"/environments/{environment_id}/metrics?hours=24")).json()
    assert 77.0 not in [each["cpu_usage"] for each in body["history"]]


async def test_the_figures_of_others_are_not_found(pair: Pair, phones: list[Phone]) -> None:
    environment_id = await pair.create(phones[0])
    async with pair.person() as others:
        with pytest.raises(Refused) as refused:
            await others[0].call("GET", f"/environments/{environment_id}/metrics")
    assert refused.value.status == 404
    async with Phone(pair.servers[0].url, username="stranger") as stranger:
        with pytest.raises(Refused) as refused:
            await stranger.call("GET", f"/environments/{environment_id}/metrics")
    assert refused.value.status == 401


def _sample(environment_id: str, at: datetime, *, cpu_percent: float) -> dict[str, Any]:
    return {
        "_id": new_id(),
        "version": 1,
        "environment_id": environment_id,
        "at": at,
        "cpu_percent": cpu_percent,
        "memory_percent": 50.0,
        "storage_percent": 1.0,
        "network_in_bytes": 1,
        "network_out_bytes": 2,
        "expires_at": at + timedelta(days=30),
    }
