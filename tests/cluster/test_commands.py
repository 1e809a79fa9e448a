"""Commands through one process while another owns the environment."""

from collections.abc import Callable

import pytest

from tests.cluster.pairs import Pair, eventually
from tests.phone import parsers
from tests.phone.client import Phone

LIMITS = {"resource_limits": {"cpu": "250m", "memory": "128Mi", "storage": "1Gi"}}


async def acted_within(pair: Pair, phones: list[Phone]) -> dict[str, float]:
    """Send every command through the second process to the first, and return the seconds until that acts."""
    one, two = phones
    environment_id = await pair.create(one)

    async def measured(is_done: Callable[[], bool], what: str) -> float:
        assert pair.owner(environment_id) == 0
        return await eventually(is_done, what)

    def leaves(phase: str) -> Callable[[], bool]:
        return lambda: pair.document(environment_id).get("phase") != phase

    took_s = {}
    await two.fetch("PUT", f"/environments/{environment_id}", parsers.ENVIRONMENT, LIMITS)
    took_s["update"] = await measured(lambda: pair.document(environment_id)["revised"] == 2, "the update")
    await two.command(environment_id, "stop")
    took_s["stop"] = await measured(leaves("running"), "the stop")
    await eventually(lambda: pair.document(environment_id)["phase"] == "stopped", "the end of the stop")
    await one.command(environment_id, "start")
    await eventually(lambda: pair.is_running(environment_id), "the start")
    await two.delete(environment_id)
    took_s["delete"] = await measured(leaves("running"), "the deletion")
    await eventually(lambda: not pair.document(environment_id), "the end of the deletion")
    assert not pair.sandbox_pids(environment_id)
    return took_s


async def test_with_events_the_owner_acts_at_once(pair: Pair, phones: list[Phone], record_testsuite_property):
    took_s = await acted_within(pair, phones)
    record_testsuite_property("seconds_with_events", took_s)
    assert max(took_s.values()) < 1.0


async def test_without_events_the_owner_looks_within_three_seconds(
    lonely: Pair, lonely_phones: list[Phone], record_testsuite_property
):
    took_s = await acted_within(lonely, lonely_phones)
    record_testsuite_property("seconds_without_events", took_s)
    assert max(took_s.values()) < 3.0


async def test_a_restart_through_another_process_is_driven_by_the_owner(pair: Pair, phones: list[Phone]):
    environment_id = await pair.create(phones[0])
    await phones[1].command(environment_id, "restart")
    await eventually(lambda: pair.document(environment_id)["booted"] == 2, "the restart")
    await eventually(lambda: pair.is_running(environment_id), "the end of the restart")
    assert pair.owner(environment_id) == 0
    assert pair.document(environment_id)["fence"] == 1


@pytest.mark.parametrize("phase", ["provisioning", "installing"])
async def test_a_deletion_during_a_creation_leaves_nothing(pair: Pair, phones: list[Phone], phase: str):
    environment_id = str((await phones[0].create("Short-lived", "hanging"))["id"])
    if phase == "installing":
        await eventually(lambda: pair.document(environment_id)["phase"] == phase, phase)
    await phones[1].delete(environment_id)
    assert await phones[0].environments() == []
    await eventually(lambda: not pair.document(environment_id), "the deletion")
    assert not pair.lease(environment_id)
    assert not pair.slots(pair.user_id(phones[0]))
    assert not pair.sandbox_pids(environment_id)
    assert not (pair.data_dir / "data" / "environments" / environment_id).exists()


async def test_a_stop_during_a_start_stops(pair: Pair, phones: list[Phone]):
    environment_id = str((await phones[0].create("Hesitant", "hanging"))["id"])
    await eventually(lambda: pair.document(environment_id)["phase"] == "installing", "the installation")
    await phones[1].command(environment_id, "stop")
    await eventually(lambda: pair.document(environment_id)["phase"] == "stopped", "the stop")
    assert pair.document(environment_id)["settled"]
    assert not pair.sandbox_pids(environment_id)
    assert not pair.lease(environment_id)["owner"]
