"""What a process that is stopped owes: to the clients at its terminals, to the other process, to the environments."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from devpocket.runtime.local.record import read_record
from tests.cluster.crowd import Resident, attach_all
from tests.cluster.pairs import Pair, eventually
from tests.e2e.server import ServerProcess
from tests.mongodb import MongoServer, mongodb_directory
from tests.phone import parsers
from tests.phone.client import Phone, Refused

__all__ = ["mongodb_directory"]
TERMINALS = 40
PROMISED_S, PROMISED_HANDOVER_S = 10.0, 1.0


@pytest.fixture
async def residents(pair: Pair, phones: list[Phone]) -> AsyncIterator[list[Resident]]:
    """Two environments that the first process drives, each with something that its shell remembers."""
    residents = [Resident(phones[0], await pair.create(phones[0])) for _ in range(2)]
    for resident in residents:
        assert pair.owner(resident.environment_id) == 0
        await resident.remember()
    yield residents
    await asyncio.gather(*(client.cut() for resident in residents for client in resident.clients))
    await asyncio.to_thread(start_again, pair)


def start_again(pair: Pair) -> None:
    process = pair.servers[0].process
    assert process
    if process.poll() is not None:
        pair.start(0)


async def handed_over(pair: Pair, resident: Resident) -> None:
    await eventually(lambda: pair.owner(resident.environment_id) == 1, "the handover")


async def detached(resident: Resident) -> None:
    await eventually(lambda: not resident.attachments(), "the end of all tmux clients")


async def ended(pair: Pair, number: signal.Signals, patience_s: float = PROMISED_S) -> int:
    """Send a signal to the first process and return its exit code."""
    process = pair.servers[0].process
    assert process
    process.send_signal(number)
    return await asyncio.to_thread(process.wait, patience_s)


async def test_a_stop_tells_everybody_hands_over_and_touches_no_environment(
    pair: Pair, phones: list[Phone], residents: list[Resident], record_testsuite_property
):
    """One environment is flooded, and some of its clients do not read."""
    clients = await attach_all(residents, TERMINALS, flooded=1)
    before = [set(resident.processes()) for resident in residents]
    assert all(len(resident.attachments()) >= TERMINALS / 2 for resident in residents)
    began_s = time.monotonic()
    stopping = asyncio.create_task(ended(pair, signal.SIGTERM))
    for resident in residents:
        await handed_over(pair, resident)
    handover_s = time.monotonic() - began_s
    assert await stopping == 0
    record_testsuite_property("handover_with_terminals_s", round(handover_s, 3))
    record_testsuite_property("stop_with_terminals_s", round(time.monotonic() - began_s, 3))
    assert handover_s < PROMISED_HANDOVER_S
    reading = [client for client in clients if client.reads]
    assert 0 < len(reading) < len(clients)
    await asyncio.gather(*(client.closed() for client in reading))
    assert [client for client in reading if not client.is_told] == []
    assert {client.farewell["status"] for client in reading if client.farewell} == {"running"}
    leaving = {"process_id": pair.process_ids[0], "is_open": True}
    assert pair.database.terminal_sessions.count_documents(leaving) == 0
    for resident, had in zip(residents, before, strict=True):
        await detached(resident)
        assert had <= set(resident.processes())
    await asyncio.to_thread(pair.start, 0)
    for phone in reversed(phones):  # through the other process, and through the one that came back
        for number, resident in enumerate(residents):
            await resident.recall(phone, is_flooded=number == 0 and phone is phones[1])
    assert [pair.document(each.environment_id)["booted"] for each in residents] == [1, 1]


async def test_it_says_that_it_is_not_ready_before_it_refuses(pair: Pair, residents: list[Resident]):
    """A balancer that asks with a new connection each time gets an answer before it is refused."""
    stopping = asyncio.create_task(ended(pair, signal.SIGTERM))
    answers: list[int] = []
    while not stopping.done():
        try:
            async with httpx.AsyncClient(timeout=5) as web:
                answers.append((await web.get(f"{pair.servers[0].url}/health/ready")).status_code)
        except httpx.ConnectError:
            break
        except httpx.TransportError:
            continue  # it was taken and not answered any more
    assert await stopping == 0
    assert answers[-1] == 503


async def test_ctrl_c_is_the_same(pair: Pair, residents: list[Resident]):
    clients = await attach_all(residents, 4, flooded=0)
    assert await ended(pair, signal.SIGINT) == 0
    await asyncio.gather(*(client.closed() for client in clients))
    assert all(client.is_told for client in clients)


async def test_a_second_signal_ends_it_at_once(pair: Pair, residents: list[Resident]):
    """While it still waits for clients that do not listen; nothing is touched by that either."""
    clients = await attach_all(residents, 12, flooded=1)
    before = [set(resident.processes()) for resident in residents]
    process = pair.servers[0].process
    assert process
    process.send_signal(signal.SIGTERM)
    await asyncio.wait([asyncio.ensure_future(each.closed()) for each in clients if each.reads], timeout=PROMISED_S)
    began_s = time.monotonic()
    assert await ended(pair, signal.SIGTERM) == 1
    assert time.monotonic() - began_s < PROMISED_HANDOVER_S
    for resident, had in zip(residents, before, strict=True):
        await detached(resident)
        assert had <= set(resident.processes())
    await asyncio.to_thread(pair.start, 0)
    for number, resident in enumerate(residents):
        await resident.recall(is_flooded=number == 0)


async def test_an_installation_goes_on_under_the_other_process(pair: Pair, phones: list[Phone]):
    environment_id = str((await phones[0].create("Halfway", "steps"))["id"])
    await eventually(lambda: pair.database.logs.find_one({"message": "step 2 of 8"}), "the installation")
    assert pair.owner(environment_id) == 0
    try:
        assert await ended(pair, signal.SIGTERM) == 0
        await eventually(lambda: pair.is_running(environment_id), "what was begun")
        assert pair.owner(environment_id) == 1
        lines = (await phones[1].fetch("GET", f"/environments/{environment_id}/logs", parsers.LOGS))["logs"]
        assert ["\n".join(lines).count(f"step {number} of 8") for number in range(1, 9)] == [1] * 8
    finally:
        await asyncio.to_thread(start_again, pair)


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.03])
async def test_a_creation_that_is_being_asked_for_is_made_or_refused(pair: Pair, phones: list[Phone], delay_s: float):
    """Whoever got an answer gets an environment; whoever did not holds no slot for nothing."""
    asking = asyncio.create_task(phones[0].create("In the middle", "quick"))
    await asyncio.sleep(delay_s)  # not to wait for something: so the signal comes at different steps of the creation
    try:
        assert await ended(pair, signal.SIGTERM) == 0
        (answer,) = await asyncio.gather(asking, return_exceptions=True)
        user_id = pair.user_id(phones[0])
        if isinstance(answer, dict):
            await eventually(lambda: pair.is_running(str(answer["id"])), "what was promised")
        else:
            assert isinstance(answer, Refused | httpx.TransportError)
        await eventually(lambda: pair.slots(user_id) == pair.environments_of(user_id), "the release of the slot")
    finally:
        await asyncio.to_thread(start_again, pair)


async def test_it_ends_in_time_when_the_database_is_dead(mongodb_directory: Path):
    """Clients are told and terminals detached all the same; what waits for the database is cut off."""
    database = await asyncio.to_thread(MongoServer.start, mongodb_directory)
    server = ServerProcess(DATABASE_URL=f"{database.url}stop", LOCAL_NETWORK="none", SHUTDOWN_TIMEOUT="3s")
    try:
        await asyncio.to_thread(server.start)
        async with Phone(server.url) as phone:
            await phone.sign_up()
            resident = Resident(phone, str((await phone.create())["id"]))
            await phone.until(resident.environment_id, "running")
            clients = await attach_all([resident], 3, flooded=0)
            await asyncio.to_thread(database.kill)
            assert await asyncio.to_thread(server.stop) == 0
            await asyncio.gather(*(client.closed() for client in clients))
            assert all(client.is_told for client in clients)
            await detached(resident)
            assert resident.processes()
            record = read_record(server.data_dir / "environments" / resident.environment_id / "record.json")
            assert record
            assert record.sandbox
            assert record.sandbox.init.kill()  # without its database nobody can delete it
    finally:
        await asyncio.to_thread(server.close)
        database.stop()
