"""What is found and put right though no event and no owner told of it."""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from devpocket.ids import new_id
from devpocket.runtime.local.accounting import all_pids
from tests.cluster.pairs import Pair, eventually, shell_of
from tests.e2e.server import with_signal
from tests.phone.client import Phone


def _space(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink()
    except OSError:
        return None  # it has just ended


def _namespace_of(pid: int) -> set[int]:
    """Return the processes of the PID namespace of ``pid``, which is not this one's."""
    space = _space(pid)
    assert space not in (None, _space(os.getpid()))
    return {each for each in all_pids() if _space(each) == space}


def swept(pair: Pair, kind: str) -> float:
    """Return how much the servers' sweeps of one kind have put right."""
    return sum(pair.figure(number, f'swept_total{{sweep="{kind}"}}') for number in (0, 1))


async def test_without_events_a_deletion_is_heard_in_the_middle_of_an_installation(
    lonely: Pair, lonely_phones: list[Phone]
):
    environment_id = str((await lonely_phones[0].create("Unwanted", "hanging"))["id"])
    await eventually(lambda: lonely.document(environment_id)["phase"] == "installing", "the installation")
    assert lonely.owner(environment_id) == 0
    await lonely_phones[1].delete(environment_id)
    took_s = await eventually(lambda: lonely.document(environment_id).get("phase") != "installing", "its end")
    assert took_s < 3
    await eventually(lambda: not lonely.document(environment_id), "the deletion")
    assert not lonely.sandbox_pids(environment_id)


async def test_without_events_a_leaving_owner_is_followed_by_the_next_sweep(lonely: Pair, lonely_phones: list[Phone]):
    environment_id = await lonely.create(lonely_phones[0])
    shell, process = await shell_of(lonely_phones[1], environment_id), lonely.servers[0].process
    assert process
    process.send_signal(signal.SIGTERM)
    try:
        took_s = await eventually(lambda: lonely.owner(environment_id) == 1, "the handover")
        assert took_s < 3
        assert await asyncio.to_thread(process.wait, 10) == 0
        assert await shell_of(lonely_phones[1], environment_id) == shell
        assert (lonely.document(environment_id)["booted"], lonely.lease(environment_id)["fence"]) == (1, 2)
    finally:
        await asyncio.to_thread(lonely.start, 0)


async def test_a_sandbox_without_a_document_is_removed(pair: Pair, phones: list[Phone]):
    environment_id, user_id = await pair.create(phones[0]), pair.user_id(phones[0])
    before = swept(pair, "orphans")
    pair.database.environments.delete_one({"_id": environment_id})
    await eventually(lambda: not pair.sandbox_pids(environment_id), "the end of the sandbox")
    home = pair.data_dir / "data" / "environments" / environment_id
    await eventually(lambda: not home.exists(), "the removal of its folder")
    await eventually(lambda: not pair.lease(environment_id), "the removal of its lease")
    await eventually(lambda: swept(pair, "orphans") > before, "the count of it")
    pair.database.counters.delete_one({"_id": f"environments:{user_id}"})  # would be given back when it is needed


async def test_a_document_without_a_sandbox_gets_one_again(pair: Pair, phones: list[Phone]):
    environment_id = await pair.create(phones[0])
    lost = _namespace_of(pair.sandbox_pids(environment_id)[0])
    for pid in lost:
        with_signal(pid)
    await eventually(lambda: set(pair.sandbox_pids(environment_id)) - lost, "another sandbox")
    await eventually(lambda: pair.is_running(environment_id), "the start")
    assert pair.document(environment_id)["restarts"] == 1


async def test_what_runs_though_it_should_be_at_rest_is_stopped(pair: Pair, phones: list[Phone]):
    environment_id = await pair.create(phones[0])
    at_rest = {"desired": "stopped", "phase": "stopped", "settled": True}
    pair.database.environments.update_one({"_id": environment_id}, {"$set": at_rest, "$inc": {"version": 1}})
    pair.database.leases.update_one({"_id": environment_id}, {"$set": {"owner": None, "held_until": None}})
    await eventually(lambda: not pair.sandbox_pids(environment_id), "the end of the sandbox")
    await eventually(lambda: pair.document(environment_id)["phase"] == "stopped", "the end of the stop")


async def test_a_phase_beyond_its_deadline_is_ended(pair: Pair, phones: list[Phone]):
    environment_id = str((await phones[0].create("Stuck", "hanging"))["id"])
    await eventually(lambda: pair.document(environment_id)["phase"] == "installing", "the installation")
    long_ago, before = datetime.now(UTC) - timedelta(hours=2), swept(pair, "stuck")
    changed = {"$set": {"phase_since_at": long_ago}, "$inc": {"version": 1}}
    pair.database.environments.update_one({"_id": environment_id}, changed)
    await eventually(lambda: pair.is_running(environment_id), "the end of the phase")
    document = pair.document(environment_id)
    assert (document["installation_completed"], "too long" in document["installation_error"]) == (False, True)
    await eventually(lambda: swept(pair, "stuck") > before, "the count of it")


async def test_a_slot_taken_for_an_environment_that_was_never_written_is_given_back(pair: Pair, phones: list[Phone]):
    user_id, before = pair.user_id(phones[0]), swept(pair, "slots")
    taken_at = datetime.now(UTC) - timedelta(seconds=58)  # looked at after a minute
    member = f"{new_id()}@{int(taken_at.timestamp() * 1000)}"
    counter = {"_id": f"environments:{user_id}", "version": 1, "members": [member], "taken_at": taken_at}
    pair.database.counters.insert_one(counter)
    await eventually(lambda: not pair.slots(user_id), "the return of the slot")
    await eventually(lambda: swept(pair, "slots") > before, "the count of it")


async def test_the_record_of_a_dead_processs_terminal_is_ended(pair: Pair, phones: list[Phone]):
    environment_id = await pair.create(phones[0])
    async with phones[0].terminal(environment_id) as terminal:
        await terminal.run("echo o$((1 + 1))n", "o2n")
        records = pair.database.terminal_sessions
        assert [each["is_open"] for each in records.find({"environment_id": environment_id})] == [True]
        pair.servers[0].kill()
    try:
        await eventually(lambda: not records.find_one({"environment_id": environment_id, "is_open": True}), "its end")
        assert [bool(each["ended_at"]) for each in records.find({"environment_id": environment_id})] == [True]
    finally:
        await asyncio.to_thread(pair.start, 0)
