"""Who drives an environment when its owner dies, leaves, or sleeps."""

import asyncio
import signal

import pytest

from devpocket.store.environments import EnvironmentRecords
from devpocket.store.errors import StaleFenceError
from tests.cluster.pairs import Pair, eventually, shell_of
from tests.phone import parsers
from tests.phone.client import Phone


async def test_a_killed_owner_is_followed_within_15_seconds(pair: Pair, phones: list[Phone], record_testsuite_property):
    environment_id = await pair.create(phones[0])
    shell = await shell_of(phones[1], environment_id)
    before = pair.lease(environment_id)
    assert pair.owner(environment_id) == 0
    taken_over = pair.figure(1, 'leases_total{event="taken_over"}')
    pair.servers[0].kill()
    try:
        took_s = await eventually(lambda: pair.owner(environment_id) == 1, "the takeover")
        record_testsuite_property("takeover_s", round(took_s, 2))
        assert took_s < 15
        assert pair.lease(environment_id)["fence"] == before["fence"] + 1
        assert pair.figure(1, 'leases_total{event="taken_over"}') == taken_over + 1
        assert await shell_of(phones[1], environment_id) == shell
        assert pair.document(environment_id)["booted"] == 1
    finally:
        await asyncio.to_thread(pair.start, 0)


async def test_a_leaving_owner_hands_over_within_a_second(pair: Pair, phones: list[Phone], record_testsuite_property):
    environment_id = await pair.create(phones[0])
    shell, process = await shell_of(phones[1], environment_id), pair.servers[0].process
    assert process
    process.send_signal(signal.SIGTERM)
    try:
        took_s = await eventually(lambda: pair.owner(environment_id) == 1, "the handover")
        record_testsuite_property("handover_s", round(took_s, 3))
        assert took_s < 1
        assert await asyncio.to_thread(process.wait, 10) == 0
        assert await shell_of(phones[1], environment_id) == shell
        assert pair.document(environment_id)["booted"] == 1
    finally:
        await asyncio.to_thread(pair.start, 0)


@pytest.mark.parametrize("template", ["quick", "steps"])
async def test_a_sleeper_cannot_write_with_its_old_fence(lonely: Pair, lonely_phones: list[Phone], template: str):
    """Paused while all is well, or in the middle of an installation whose end it will want to write."""
    one, two = lonely_phones
    environment_id = str((await one.create("Sleepy", template))["id"])
    if template == "quick":
        await eventually(lambda: lonely.is_running(environment_id), "the start")
    else:
        await eventually(lambda: lonely.database.logs.find_one({"message": "step 2 of 8"}), "the installation")
    assert lonely.owner(environment_id) == 0
    old = lonely.document(environment_id)
    sleeper = lonely.servers[0].process
    assert sleeper
    sleeper.send_signal(signal.SIGSTOP)
    try:
        if template == "quick":
            await two.command(environment_id, "restart")
        await eventually(lambda: lonely.owner(environment_id) == 1, "the takeover")
        await eventually(lambda: lonely.is_running(environment_id), "what the sleeper should have done")
    finally:
        sleeper.send_signal(signal.SIGCONT)
    await eventually(lambda: lonely.figure(0, "leases_held") == 0, "the sleeper's awakening")
    new = lonely.document(environment_id)
    assert (new["phase"], lonely.owner(environment_id)) == ("running", 1)
    assert new["fence"] == lonely.lease(environment_id)["fence"] > old["fence"]
    assert new["booted"] == (2 if template == "quick" else 1)
    async with lonely.store() as store:
        with pytest.raises(StaleFenceError):
            await store.environments.replace({**new, "message": "written late"}, fence=old["fence"])
        assert (await EnvironmentRecords(store).get(new["_id"])).message == new["message"]
    if template == "steps":
        lines = (await two.fetch("GET", f"/environments/{environment_id}/logs", parsers.LOGS))["logs"]
        assert ["\n".join(lines).count(f"step {number} of 8") for number in range(1, 9)] == [1] * 8
