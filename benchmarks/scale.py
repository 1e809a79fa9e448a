"""What more processes bring, and what more users cost.

    python -m benchmarks.scale [--users 100000] [--mongodb-users 10000]

First requests per second and p99 of list and create, and how soon a change reaches every socket: one process on SQLite,
then 1, 2 and 4 on MongoDB and Redis. Then the server's CPU time per request with 100 users in the store and with many.
Needs what ``benchmarks.chaos`` needs. Clients run on the same machine, directly at the servers.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load import Connection, Figures, Request, measured, timed
from benchmarks.store import add_users
from devpocket.clock import SystemClock
from devpocket.store import open_store
from tests.cluster.processes import ENVIRONMENTS, running_cluster, shared_settings
from tests.e2e.server import ServerProcess
from tests.mongodb import MongoServer
from tests.phone.client import Phone
from tests.phone.sockets import PhoneTerminal

USERS = 8
CONNECTIONS_PER_USER = 2
LIST_S = 4.0
CHANGES = 60
FIRST_CHANGES = 3
SOCKETS = 4
AIM_GROWTH = 1.3
FEW_USERS = 100
WARM_UP, REQUESTS = 50, 400
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_names = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Setup:
    """Servers under measurement and people who are signed in there."""

    servers: Sequence[ServerProcess]
    people: Sequence[Phone]
    template_id: str

    def connection(self, number: int, person: Phone) -> Connection:
        """Return a connection to one of the servers, in turn."""
        assert person.tokens
        return Connection(self.servers[number % len(self.servers)].url, person.tokens["access_token"])

    @property
    def cpu_s(self) -> float:
        """The CPU time of all servers so far."""
        fields = [Path(f"/proc/{each.process.pid}/stat").read_text() for each in self.servers if each.process]
        return sum(sum(int(tick) for tick in each.rpartition(")")[2].split()[11:13]) for each in fields) / TICKS_PER_S


@asynccontextmanager
async def signed_in(servers: Sequence[ServerProcess]) -> AsyncIterator[Setup]:
    """Give people with accounts; whatever they have is deleted in the end."""
    async with AsyncExitStack() as stack:
        people = []
        for _ in range(USERS):
            phone = await stack.enter_async_context(Phone(servers[0].url, username=f"measured_{next(_names)}"))
            await phone.sign_up()
            people.append(phone)
        setup = Setup(servers, people, await people[0].template_id("ubuntu"))
        yield setup
        for phone in people:
            for environment in await phone.environments():
                await phone.delete(environment["id"])


# --- more processes --------------------------------------------------------------------------------------------------


async def lists(setup: Setup) -> Figures:
    """Ask for lists, from several connections per person, for a while."""
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(setup.connection(number, person))
            for number, person in enumerate([*setup.people] * CONNECTIONS_PER_USER)
        ]

        async def work(connection: Connection) -> list[float]:
            ends_s, times_s = time.perf_counter() + LIST_S, []
            while time.perf_counter() < ends_s:
                times_s += await timed(connection, [("GET", "/environments", None)])
            return times_s

        return await measured([partial(work, each) for each in connections])


async def creations(setup: Setup) -> Figures:
    """Everybody makes what the plan allows, all at once; the figures are those of the answers."""
    async with AsyncExitStack() as stack:
        workers = []
        for number, person in enumerate(setup.people):
            connection = await stack.enter_async_context(setup.connection(number, person))
            requests = [creation(setup, f"Number {each}") for each in range(ENVIRONMENTS)]
            workers.append(partial(timed, connection, requests))
        figures = await measured(workers)
    await until_running(setup)
    return figures


async def until_running(setup: Setup) -> None:
    """Wait until everything that was made runs."""
    for person in setup.people:
        for environment in await person.environments():
            await person.until(environment["id"], "running", patience_s=60)


def creation(setup: Setup, name: str) -> Request:
    """Return the request for an environment."""
    return ("POST", "/environments", {"name": name, "template_id": setup.template_id})


async def fan_out(setup: Setup) -> Figures:
    """Change an environment again and again; each figure is the time from a request to the news on one socket."""
    person, times_s = setup.people[0], []
    assert person.tokens
    environment_id = str((await person.environments())[0]["id"])
    began_s = time.perf_counter()
    async with AsyncExitStack() as stack:
        phones = [Phone(setup.servers[each % len(setup.servers)].url) for each in range(SOCKETS)]
        for phone in phones:
            phone.tokens = person.tokens
            stack.push_async_callback(phone.http.aclose)
        sockets = [await stack.enter_async_context(each.terminal(environment_id)) for each in phones]
        for socket in sockets:
            await socket.wait_for("welcome")
        connection = await stack.enter_async_context(setup.connection(0, person))
        for number in range(FIRST_CHANGES + CHANGES):
            told = asyncio.gather(*(news(each, time.perf_counter()) for each in sockets))
            await connection.ask(("PUT", f"/environments/{environment_id}", {"description": f"change {number}"}))
            times_s += await told
            if number + 1 == FIRST_CHANGES:  # by then every terminal is attached and its first screen drawn
                times_s.clear()
                began_s = time.perf_counter()
    return Figures.of(times_s, time.perf_counter() - began_s)


async def news(socket: PhoneTerminal, since_s: float) -> float:
    """Return the seconds from ``since_s`` until the socket is told something new of its environment."""
    known = sum(message["type"] == "status_update" for message in socket.messages)
    await socket.wait_for("status_update", number=known + 1)
    return time.perf_counter() - since_s


async def measure_processes() -> None:
    """Print the figures of every setup, and their ratios to one process on MongoDB."""
    found: dict[str, dict[str, Figures]] = {}
    async with single_server() as server:
        await asyncio.to_thread(server.start)
        found["SQLite, 1 process"] = await measure([server])
    for count in (1, 2, 4):
        async with running_cluster(count, LEASE_TTL="10s", SWEEP_INTERVAL="2s", ORPHAN_SWEEP_INTERVAL="1m") as cluster:
            found[f"MongoDB, {count} process{'es' * (count > 1)}"] = await measure(cluster.servers)
    one = found["MongoDB, 1 process"]
    for name, figures in found.items():
        for kind, figure in figures.items():
            more = figure.p99_ms / one[kind].p99_ms if kind == "fan-out" else figure.per_s / one[kind].per_s
            what = "p99" if kind == "fan-out" else "rate"
            print(f"{name:<20} {kind:<8} {figure}   {what} {more:.2f} times that of one on MongoDB")


@asynccontextmanager
async def single_server(**variables: str) -> AsyncIterator[ServerProcess]:
    """Give a server that is not started, with the plans and limits of the clusters; on SQLite unless told otherwise."""
    server = ServerProcess(**variables)
    server.variables |= shared_settings(server.data_dir)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.close)


async def measure(servers: Sequence[ServerProcess]) -> dict[str, Figures]:
    """Return the figures of one setup."""
    async with signed_in(servers) as setup:
        created = await creations(setup)
        return {"create": created, "list": await lists(setup), "fan-out": await fan_out(setup)}


# --- more users ------------------------------------------------------------------------------------------------------


async def measure_growth(users: int, mongodb: bool) -> None:
    """Print the CPU time of a request with few and with many users in the store, and the ratio."""
    async with AsyncExitStack() as stack:
        variables = {"HEADER_TIMEOUT": "10m"}  # a connection is idle until those before it have had their turn
        if mongodb:
            directory = Path(stack.enter_context(TemporaryDirectory()))
            database = await asyncio.to_thread(MongoServer.start, directory / "data")
            stack.push_async_callback(asyncio.to_thread, database.stop)
            variables["DATABASE_URL"] = f"{database.url}growth"
        server = await stack.enter_async_context(single_server(**variables))
        url = variables.get("DATABASE_URL", f"sqlite:///{server.data_dir}/devpocket.db")
        await fill(url, 0, FEW_USERS)
        few = await request_costs_ms(server)
        await fill(url, FEW_USERS, users)
        many = await request_costs_ms(server)
    name = "MongoDB" if mongodb else "SQLite"
    for kind, (cpu_ms, p50_ms) in few.items():
        ratio = many[kind][0] / cpu_ms
        verdict = "met" if ratio <= AIM_GROWTH else "missed"
        print(
            f"{name:<8} {kind:<7} CPU {cpu_ms:6.2f} ms at {FEW_USERS} users, {many[kind][0]:6.2f} ms at {users}: "
            f"{ratio:.2f} times ({verdict}); p50 {p50_ms:6.2f} ms, {many[kind][1]:6.2f} ms"
        )


async def fill(url: str, first: int, last: int) -> None:
    """Insert users with three stopped environments each, while no server runs."""
    store = open_store(url, SystemClock())
    await store.start()
    await add_users(store, first, last)
    await store.close()


async def request_costs_ms(server: ServerProcess) -> dict[str, tuple[float, float]]:
    """Return, by kind of request, the server's CPU time and the median time to the answer, in milliseconds."""
    await asyncio.to_thread(server.start)
    async with signed_in([server]) as setup, AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(setup.connection(0, each)) for each in setup.people]
        await cost_ms(setup, connections, [("GET", "/environments", None)] * WARM_UP)
        costs = {"create": await cost_ms(setup, connections, [creation(setup, f"N {n}") for n in range(ENVIRONMENTS)])}
        await until_running(setup)
        costs["list"] = await cost_ms(setup, connections, [("GET", "/environments", None)] * REQUESTS)
        costs["show me"] = await cost_ms(setup, connections, [("GET", "/users/me", None)] * REQUESTS)
    assert await asyncio.to_thread(server.stop) == 0
    return costs


async def cost_ms(setup: Setup, connections: Sequence[Connection], requests: Sequence[Request]) -> tuple[float, float]:
    """Send the requests for everybody, one at a time."""
    before_s, times_s = setup.cpu_s, []
    for connection in connections:
        times_s += await timed(connection, requests)
    return (setup.cpu_s - before_s) * 1000 / len(times_s), statistics.median(times_s) * 1000


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000, help="in SQLite; 0 leaves it out")
    parser.add_argument("--mongodb-users", type=int, default=10_000, help="in MongoDB; 0 leaves it out")
    parser.add_argument("--no-processes", action="store_true", help="only more users")
    arguments = parser.parse_args()
    if not arguments.no_processes:
        asyncio.run(measure_processes())
    for users, mongodb in ((arguments.users, False), (arguments.mongodb_users, True)):
        if users:
            asyncio.run(measure_growth(users, mongodb))


if __name__ == "__main__":
    main()
