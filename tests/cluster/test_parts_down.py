"""Redis, MongoDB and a process, killed under two running servers: what goes on meanwhile, and that all heals."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pymongo import MongoClient

from tests.cluster.crowd import Resident
from tests.cluster.processes import DATABASE, Cluster, running_cluster
from tests.e2e.server import processes_naming
from tests.phone.client import Phone, Refused
from tests.phone.sockets import PhoneTerminal

pytestmark = pytest.mark.asyncio(loop_scope="module")

METRICS_TOKEN = "a-token-for-the-figures"
SOCKETS = 3
"""What one user may have open, over all processes."""
PLACES_HEAL_S = 60.0
DATABASE_PATIENCE_S = 40.0
"""A database that answers nothing is given up after less."""
LEASE_TTL_S = 30.0
"""Outlasts a database that is away for so long that it is given up."""
POLICY_VIOLATION = 1008
"""RFC 6455, 7.4.1: all that a refused socket is told."""


class Scene:
    """The servers, and somebody with a phone at each."""

    def __init__(self, cluster: Cluster, phones: list[Phone], http: httpx.AsyncClient) -> None:
        self.cluster = cluster
        self.phones = phones
        self.http = http

    async def ready(self, number: int) -> tuple[int, dict[str, Any]]:
        """Return status and body of a server's readiness."""
        answer = await self.http.get(f"{self.cluster.servers[number].url}/health/ready")
        return answer.status_code, answer.json()

    async def bus_is(self, state: str) -> bool:
        """Whether every server says so of its bus, and is ready."""
        told = [await self.ready(number) for number in range(2)]
        return all(status == 200 and body["checks"]["bus"] == state for status, body in told)

    async def figure(self, number: int, name: str) -> float:
        """Return one of a server's figures."""
        headers = {"authorization": f"Bearer {METRICS_TOKEN}"}
        answer = await self.http.get(f"{self.cluster.servers[number].url}/metrics", headers=headers)
        found = re.search(rf"^devpocket_{name} (\S+)$", answer.text, re.MULTILINE)
        assert found, name
        return float(found.group(1))

    async def told_within_s(self, verb: str, environment_id: str, terminal: PhoneTerminal, status: str) -> float:
        """Command through the first process; return when the second one's socket tells of it."""
        seen = len(terminal.messages)
        began_s = time.monotonic()
        await self.phones[0].command(environment_id, verb)
        await eventually(lambda: _told(terminal, status, seen), f"the {verb} at the other process")
        return time.monotonic() - began_s


def _told(terminal: PhoneTerminal, status: str, seen: int) -> Awaitable[bool]:
    found = any(each["type"] == "status_update" and each["status"] == status for each in terminal.messages[seen:])
    return asyncio.sleep(0, found)


async def eventually(condition: Callable[[], Awaitable[object]], what: str, patience_s: float = 30.0) -> None:
    """Wait until ``condition`` holds."""
    deadline_s = time.monotonic() + patience_s
    while not await condition():
        assert time.monotonic() < deadline_s, f"{what} did not happen within {patience_s:g} s"
        await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(own_mongodb: None) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(
            running_cluster(
                2, METRICS_TOKEN=METRICS_TOKEN, SOCKETS_PER_USER=str(SOCKETS), LEASE_TTL=f"{LEASE_TTL_S:g}s"
            )
        )
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        phones = [await stack.enter_async_context(Phone(server.url, username="ann")) for server in cluster.servers]
        await phones[0].sign_up()
        phones[1].tokens = phones[0].tokens
        yield Scene(cluster, phones, http)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment_id(scene: Scene) -> str:
    """An environment that runs."""
    made = str((await scene.phones[0].create())["id"])
    await scene.phones[0].until(made, "running")
    return made


async def test_without_redis_each_process_goes_on_by_itself_and_joins_again(scene: Scene, environment_id: str) -> None:
    first, second = scene.phones
    await eventually(lambda: scene.bus_is("healthy"), "both joined")
    async with first.terminal(environment_id) as near, second.terminal(environment_id) as far:
        assert await scene.told_within_s("stop", environment_id, far, "stopped") < 3
        await first.command(environment_id, "start")
        await first.until(environment_id, "running")
        await asyncio.to_thread(scene.cluster.redis.kill)

        await eventually(lambda: scene.bus_is("degraded"), "both say so, and are ready all the same")
        assert [await scene.figure(number, "bus_degraded") for number in range(2)] == [1, 1]
        began_s = time.monotonic()
        assert [each["id"] for each in await second.environments()] == [environment_id]
        assert time.monotonic() - began_s < 5, "nobody waits for a Redis that is gone"
        await near.run("echo here-$((40+1))", "here-41")
        await far.run("echo there-$((40+1))", "there-41")
        told_s = await scene.told_within_s("stop", environment_id, far, "stopped")
        assert told_s < 15, "the other process looks into the store"
        await first.command(environment_id, "start")
        await first.until(environment_id, "running")

        await asyncio.to_thread(scene.cluster.redis.start)
        await eventually(lambda: scene.bus_is("healthy"), "both join again by themselves")
        assert [await scene.figure(number, "bus_degraded") for number in range(2)] == [0, 0]
        assert await scene.told_within_s("stop", environment_id, far, "stopped") < 3
        await first.command(environment_id, "start")
        await first.until(environment_id, "running")


async def test_without_redis_limits_hold_within_a_process(scene: Scene, environment_id: str) -> None:
    await asyncio.to_thread(scene.cluster.redis.kill)
    await eventually(lambda: scene.bus_is("degraded"), "both say so")
    async with AsyncExitStack() as stack:
        for _ in range(SOCKETS):
            await _open(stack, scene.phones[0], environment_id)
        await _refused(scene.phones[0], environment_id)
        await _open(stack, scene.phones[1], environment_id)
        await asyncio.to_thread(scene.cluster.redis.start)
        await eventually(lambda: scene.bus_is("healthy"), "both join again")
        await _refused(scene.phones[1], environment_id)


async def test_without_mongodb_terminals_go_on_and_requests_are_told_when_to_come_back(
    scene: Scene, environment_id: str
) -> None:
    first, second = scene.phones
    async with first.terminal(environment_id) as terminal:
        await terminal.run("echo before-$((40+1))", "before-41")
        await scene.cluster.end_mongodb()
        refusals = await asyncio.gather(first.environments(), second.environments(), return_exceptions=True)
        for refusal in refusals:
            assert isinstance(refusal, Refused), refusal
            assert refusal.status == 503
            assert int(refusal.headers["retry-after"]) >= 1
            assert refusal.detail.endswith(".")
            assert "mongo" not in refusal.detail.lower()
        status, body = await scene.ready(0)
        assert (status, body["status"], body["checks"]["database"]) == (503, "not ready", "unhealthy")
        assert body["checks"]["bus"] == "healthy"
        assert (await scene.http.get(f"{scene.cluster.servers[0].url}/health/live")).status_code == 200
        assert (await scene.http.get(f"{scene.cluster.servers[0].url}/health/startup")).status_code == 200
        await terminal.run("echo meanwhile-$((40+1))", "meanwhile-41")

        await scene.cluster.start_mongodb()
        await eventually(lambda: _is_ready(scene), "both ready again")
        assert [each["id"] for each in await second.environments()] == [environment_id], "on the same data"
        await terminal.run("echo after-$((40+1))", "after-41")
    async with second.terminal(environment_id) as terminal:
        await terminal.run("echo again-$((40+1))", "again-41")
    boots = await _boots(scene, environment_id)
    await second.command(environment_id, "restart")

    async def has_restarted() -> bool:
        return await _boots(scene, environment_id) == boots + 1

    await eventually(has_restarted, "a restart, as ever")


async def test_an_attachment_that_cannot_be_written_down_leaves_no_terminal(scene: Scene, environment_id: str) -> None:
    await scene.phones[0].until(environment_id, "running")
    await scene.cluster.replace_server(0)  # which has not written down yet that somebody was there
    async with scene.phones[0].terminal(environment_id) as terminal:
        async with scene.cluster.stalled_mongodb_after(b"last_accessed_at"):
            await terminal.wait_for("info", DATABASE_PATIENCE_S)
        await eventually(lambda: _is_ready(scene), "both ready again")

    async def is_detached() -> bool:
        return not await asyncio.to_thread(Resident(scene.phones[0], environment_id).attachments)

    await eventually(is_detached, "the end of every terminal")


async def test_an_environment_at_rest_is_let_go_although_its_last_line_could_not_be_written(
    scene: Scene, environment_id: str
) -> None:
    line = b"Stopped.\x00\x02source"  # as BSON has it, in no document but that line
    failures = await _failed_operations(scene)

    async def has_failed() -> bool:
        return await _failed_operations(scene) > failures

    async def is_let_go() -> bool:
        return await _lease(scene, environment_id) == (None, None)

    async with scene.cluster.stalled_mongodb_after(line):
        await scene.phones[0].command(environment_id, "stop")
        await eventually(has_failed, "the end of all tries to write the line", DATABASE_PATIENCE_S)
    await eventually(is_let_go, "the release of the lease")
    await scene.phones[0].command(environment_id, "start")
    await scene.phones[0].until(environment_id, "running")


@pytest.mark.slow
async def test_places_of_a_process_that_was_killed_become_free(scene: Scene, environment_id: str) -> None:
    await eventually(lambda: scene.bus_is("healthy"), "both joined")
    await scene.phones[0].until(environment_id, "running")
    async with AsyncExitStack() as stack:
        for _ in range(SOCKETS):
            await _open(stack, scene.phones[0], environment_id)
        await _refused(scene.phones[1], environment_id)
        await scene.cluster.kill_server(0)

        async def let_in() -> bool:
            async with scene.phones[1].terminal(environment_id) as terminal:
                return await _is_welcome(terminal)

        await eventually(let_in, "a free place", PLACES_HEAL_S)


async def test_nothing_is_left_of_all_this_and_a_stop_needs_no_redis(scene: Scene, environment_id: str) -> None:
    await scene.phones[1].delete(environment_id)

    async def is_gone() -> bool:
        return not await asyncio.to_thread(processes_naming, environment_id)

    await eventually(is_gone, "the end of its processes", 2 * LEASE_TTL_S)  # its owner may have been killed
    with scene.cluster.redis.paused():
        began_s = time.monotonic()
        assert await scene.cluster.stop_servers() == [0, 0]
        assert time.monotonic() - began_s < 10, "nobody waits for a Redis that answers nothing"


async def _open(stack: AsyncExitStack, phone: Phone, environment_id: str) -> None:
    terminal = await stack.enter_async_context(phone.terminal(environment_id))
    await terminal.wait_for("welcome")


async def _is_welcome(terminal: PhoneTerminal) -> bool:
    try:
        await terminal.wait_for("welcome")
    except AssertionError:
        assert terminal.close_code is not None, "neither welcome nor refused"
        return False
    return True


async def _refused(phone: Phone, environment_id: str) -> None:
    async with phone.terminal(environment_id) as terminal:
        assert not await _is_welcome(terminal)
        assert terminal.close_code == POLICY_VIOLATION


async def _is_ready(scene: Scene) -> bool:
    return all([(await scene.ready(number))[0] == 200 for number in range(2)])


async def _failed_operations(scene: Scene) -> float:
    """Return how often an actor could not go on after something had ended, over both servers."""
    name = r"actor_messages_total{actor=\"EnvironmentActor\",message=\"OperationEnded\",outcome=\"refused\"}"
    return sum([await scene.figure(number, name) for number in range(2)])


async def _lease(scene: Scene, environment_id: str) -> tuple[str | None, datetime | None]:
    """Return who holds an environment, and until when."""

    def look() -> tuple[str | None, datetime | None]:
        with MongoClient[dict[str, Any]](scene.cluster.mongo_url) as client:
            lease = client[DATABASE].leases.find_one({"_id": environment_id})
        assert lease
        return lease["owner"], lease["held_until"]

    return await asyncio.to_thread(look)


async def _boots(scene: Scene, environment_id: str) -> int:
    """Return how often it has been started, as the database says; 0 while it does not run."""

    def look() -> int:
        with MongoClient[dict[str, Any]](scene.cluster.mongo_url) as client:
            document = client[DATABASE].environments.find_one({"_id": environment_id}) or {}
        return int(document["booted"]) if document.get("phase") == "running" and document["settled"] else 0

    return await asyncio.to_thread(look)
