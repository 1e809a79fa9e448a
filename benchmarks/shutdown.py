"""How a server with many terminals stops: how long it takes, who is told, what it leaves behind.

    python -m benchmarks.shutdown [--mongodb] [--terminals 500]

One server on SQLite, or two on MongoDB and Redis, the first of which is stopped. One environment in ten pours out text
without an end, and a third of its clients have stopped reading. Then the server is started again, and the shell of
every environment is asked for a variable that it was given before. Exits with 1 when a promise was not kept.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from pymongo import MongoClient

from benchmarks.scale import single_server
from tests.cluster.crowd import PATIENCE_S, CrowdTerminal, Resident, attach_all
from tests.cluster.processes import running_cluster
from tests.e2e.server import ServerProcess, with_signal
from tests.phone.client import Phone, Refused

ENVIRONMENTS_EACH, TERMINALS_EACH = 2, 25
"""Environments of a person, terminals of an environment."""
FLOODED_EVERY = 10
FLOODED_S = 2.0
"""So long it pours before the stop."""
REMOVAL_S = 30.0
LONGEST_S, LONGEST_HANDOVER_S = 10.0, 1.0


@dataclass(frozen=True, slots=True)
class Scene:
    """The servers, the first of which is stopped, and where leases are kept if there are any to hand over."""

    servers: Sequence[ServerProcess]
    database_url: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """What a stop took, in seconds, and how it ended."""

    took_s: float
    exit_code: int
    handover_s: float | None


@asynccontextmanager
async def one_on_sqlite() -> AsyncIterator[Scene]:
    """Give a running server."""
    async with single_server() as server:
        await asyncio.to_thread(server.start)
        yield Scene([server])


@asynccontextmanager
async def two_on_mongodb() -> AsyncIterator[Scene]:
    """Give two running servers."""
    async with running_cluster(2, LEASE_TTL="10s") as cluster:
        yield Scene(cluster.servers, cluster.mongo_url)


async def settle_in(server: ServerProcess, environments: int, residents: list[Resident]) -> None:
    """Make people and environments whose shells have something to remember."""
    while len(residents) < environments:
        phone = Phone(server.url, username=f"resident_{len(residents)}")
        await phone.sign_up()
        for number in range(ENVIRONMENTS_EACH):
            environment_id = str((await phone.create(f"Number {number}"))["id"])
            await phone.until(environment_id, "running")
            residents.append(Resident(phone, environment_id))
            await residents[-1].remember()


async def stop(scene: Scene) -> Stop:
    """End the first server while others look on."""
    process = scene.servers[0].process
    assert process
    with MongoClient[dict[str, Any]](scene.database_url or "mongodb://unused", connect=False) as client:
        leaving = environments_by_owner(client).most_common(1)[0][0] if scene.database_url else None
        began_s = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        watching = asyncio.create_task(asyncio.to_thread(handed_over_at_s, client, leaving)) if leaving else None
        exit_code = await asyncio.to_thread(process.wait, PATIENCE_S)
        took_s = time.perf_counter() - began_s
        return Stop(took_s, exit_code, await watching - began_s if watching else None)


def environments_by_owner(client: MongoClient[dict[str, Any]]) -> Counter[str]:
    """Return how many environments each process drives."""
    leases = client.get_default_database().leases.find({"_id": {"$not": {"$regex": "^process:"}}})
    return Counter(each["owner"] for each in leases)


def handed_over_at_s(client: MongoClient[dict[str, Any]], leaving: str) -> float:
    """Return the time at which ``leaving`` drives nothing any more and others drive everything."""
    count, deadline_s = environments_by_owner(client).total(), time.perf_counter() + PATIENCE_S
    while (owners := environments_by_owner(client))[leaving] or owners.total() < count:
        assert time.perf_counter() < deadline_s, f"not handed over: {owners}"
        time.sleep(0.02)
    return time.perf_counter()


def report(residents: Sequence[Resident], clients: Sequence[CrowdTerminal], stopped: Stop, lost: int) -> bool:
    """Print what was found; tell whether all promises were kept."""
    reading = [client for client in clients if client.reads]
    told, codes = [client for client in reading if client.is_told], Counter(client.close_code for client in reading)
    left = [pid for resident in residents for pid in resident.attachments()]
    print(f"{len(clients)} terminals on {len(residents)} environments, {len(clients) - len(reading)} do not read")
    print(f"stopped after            {stopped.took_s:6.2f} s with exit code {stopped.exit_code}")
    if stopped.handover_s is not None:
        print(f"leases handed over after {stopped.handover_s:6.2f} s")
    print(f"told when to come back   {len(told):6} of {len(reading)}; close codes {dict(codes)}")
    print(f"tmux clients left        {len(left):6}; processes of environments lost {lost}", flush=True)
    is_told = len(told) == len(reading)
    is_quick = stopped.took_s < LONGEST_S and (stopped.handover_s or 0.0) < LONGEST_HANDOVER_S
    return is_told and is_quick and not (stopped.exit_code or left or lost)


async def measure(scene: Scene, terminals: int, residents: list[Resident]) -> bool:
    """Print the figures of one setup, whose environments are added to ``residents``."""
    await settle_in(scene.servers[0], -(-terminals // TERMINALS_EACH), residents)
    flooded, began_s = -(-len(residents) // FLOODED_EVERY), time.perf_counter()
    clients = await attach_all(residents, terminals, flooded=flooded)
    print(f"attached in              {time.perf_counter() - began_s:6.2f} s", flush=True)
    await asyncio.sleep(FLOODED_S)
    before = [set(resident.processes()) for resident in residents]
    stopped = await stop(scene)
    await asyncio.gather(*(client.closed() for client in clients if client.reads))
    lost = sum(len(had - set(each.processes())) for had, each in zip(before, residents, strict=True))
    kept = report(residents, clients, stopped, lost)
    await asyncio.gather(*(client.cut() for client in clients))
    began_s = time.perf_counter()
    await asyncio.to_thread(scene.servers[0].start)
    print(f"started again after      {time.perf_counter() - began_s:6.2f} s")
    for number, resident in enumerate(residents):
        await resident.recall(is_flooded=number < flooded)
    print(f"shells that remember     {len(residents):6} of {len(residents)}")
    return kept


async def remove(residents: Sequence[Resident]) -> None:
    """Delete what was made; environments outlive servers, so what cannot be deleted is killed."""
    for resident in residents:
        try:
            await resident.phone.delete(resident.environment_id)
        except (Refused, httpx.TransportError) as error:
            print(f"not deleted: {error}")
    deadline_s = time.perf_counter() + REMOVAL_S
    # Nothing tells of the end of processes of others.
    while any(each.processes() for each in residents) and time.perf_counter() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    for pid in [pid for each in residents for pid in each.processes()]:
        with_signal(pid)
    for phone in {id(resident.phone): resident.phone for resident in residents}.values():
        await phone.http.aclose()


async def run(*, mongodb: bool, terminals: int) -> bool:
    """Measure one setup; tell whether all promises were kept."""
    async with two_on_mongodb() if mongodb else one_on_sqlite() as scene:
        residents: list[Resident] = []
        try:
            return await measure(scene, terminals, residents)
        except BaseException:
            print(scene.servers[0].log_tail())
            raise
        finally:
            await remove(residents)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mongodb", action="store_true", help="two servers on MongoDB and Redis")
    parser.add_argument("--terminals", type=int, default=500)
    arguments = parser.parse_args()
    kept = asyncio.run(run(mongodb=arguments.mongodb, terminals=arguments.terminals))
    print("all promises kept" if kept else "NOT all promises kept")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
