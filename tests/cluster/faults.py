"""The fault suite: clients work while parts are killed, paused and cut; then promises are compared with the truth.

Everything random comes from one seed: which fault comes when, and what every client does in which order. How the two
meet is up to the machine.
"""

import asyncio
import random
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from tests.cluster.clients import NGINX, Client
from tests.cluster.ledger import Ledger
from tests.cluster.processes import LEASE_TTL_S, Cluster, running_cluster
from tests.cluster.truth import Truth
from tests.e2e.server import processes_naming
from tests.phone.client import Refused

CLIENTS = 4
PROGRESS = 6
"""What has to be acknowledged after a fault before the next one comes."""
PROGRESS_PATIENCE_S = 60.0
QUIET_PATIENCE_S = 60.0
AWAY_S = 1.5
PROBLEMS_SHOWN = 12
"""The first ones say why; what follows from them is many."""
Say = Callable[[str], None]


@dataclass(slots=True)
class Scene:
    """What goes on, for faults that want to hit something in its middle."""

    cluster: Cluster
    ledger: Ledger
    random: random.Random
    _awaited: dict[str, "asyncio.Future[int]"] = field(default_factory=dict)

    def doing(self, kind: str, server: int) -> None:
        """A client is about to ask this server for this."""
        waiting = self._awaited.get(kind)
        if waiting is not None and server != NGINX and not waiting.done():
            waiting.set_result(server)

    async def server_that_does(self, kind: str) -> int:
        """Return the number of the server that the next client asks for this; any after a while without one."""
        waiting = self._awaited[kind] = asyncio.get_running_loop().create_future()
        try:
            return await asyncio.wait_for(waiting, 10)
        except TimeoutError:
            return self.any_server()
        finally:
            del self._awaited[kind]

    def any_server(self) -> int:
        """Return the number of one of the servers."""
        return self.random.randrange(len(self.cluster.servers))

    async def progress(self) -> None:
        """Wait until clients were acknowledged more; fails when the fault has stopped everything for good."""
        wanted = self.ledger.acknowledged.total() + PROGRESS
        deadline = time.monotonic() + PROGRESS_PATIENCE_S
        while self.ledger.acknowledged.total() < wanted:
            assert time.monotonic() < deadline, f"nothing is acknowledged any more: {self.ledger.summary()}"
            await asyncio.sleep(0.05)


async def kill_during_creation(scene: Scene) -> None:
    """kill -9 of a server that has just been asked for an environment."""
    number = await scene.server_that_does("create")
    await asyncio.sleep(scene.random.uniform(0, 0.6))
    await scene.cluster.kill_server(number)


async def kill_during_typing(scene: Scene) -> None:
    """kill -9 of a server at whose terminal somebody types."""
    await scene.cluster.kill_server(await scene.server_that_does("type"))


async def kill_during_deletion(scene: Scene) -> None:
    """kill -9 of a server that has just been asked to delete."""
    number = await scene.server_that_does("delete")
    await asyncio.sleep(scene.random.uniform(0, 0.2))
    await scene.cluster.kill_server(number)


async def pause_beyond_the_lease(scene: Scene) -> None:
    """SIGSTOP of a server for longer than its leases."""
    await scene.cluster.pause_server(scene.any_server(), LEASE_TTL_S * scene.random.uniform(1.2, 2.5))


async def replace_a_server(scene: Scene) -> None:
    """An orderly stop, and a start."""
    await scene.cluster.replace_server(scene.any_server())


async def kill_redis(scene: Scene) -> None:
    """kill -9 of Redis, and a start without data."""
    await scene.cluster.kill_redis(AWAY_S)


async def pause_redis(scene: Scene) -> None:
    """SIGSTOP of Redis."""
    await scene.cluster.pause_redis(AWAY_S)


async def kill_mongodb(scene: Scene) -> None:
    """kill -9 of MongoDB, and a start on the same data."""
    await scene.cluster.kill_mongodb(0)


async def cut_mongodb(scene: Scene) -> None:
    """No connection to MongoDB for about as long as a lease."""
    await scene.cluster.cut_mongodb(LEASE_TTL_S * scene.random.uniform(0.5, 1.5))


async def stall_mongodb(scene: Scene) -> None:
    """MongoDB answers nothing, on open connections, for about as long as a lease."""
    await scene.cluster.stall_mongodb(LEASE_TTL_S * scene.random.uniform(0.5, 1.5))


async def kill_all_servers(scene: Scene) -> None:
    """kill -9 of all servers at the same moment."""
    await scene.cluster.kill_all_servers()


async def reload_nginx(scene: Scene) -> None:
    """``nginx -s reload``."""
    await scene.cluster.reload_nginx()


Fault = Callable[[Scene], Awaitable[None]]
FAULTS: tuple[Fault, ...] = (
    kill_during_creation,
    kill_during_typing,
    kill_during_deletion,
    pause_beyond_the_lease,
    replace_a_server,
    kill_redis,
    pause_redis,
    kill_mongodb,
    cut_mongodb,
    stall_mongodb,
    kill_all_servers,
    reload_nginx,
)


async def play(seed: int, *, minutes: float = 0.0, say: Say = print) -> Ledger:
    """Play every fault once, then more of them until ``minutes`` are over; return what clients wrote down.

    Raises AssertionError that names all that was lost, leaked or driven twice, with the last words of the servers.
    """
    chance = random.Random(seed)
    async with running_cluster() as cluster, AsyncExitStack() as stack:
        scene = Scene(cluster, Ledger(), chance)
        clients = [
            Client(f"client_{number}", cluster.urls, scene.ledger, f"{seed}-{number}", scene.doing)
            for number in range(CLIENTS)
        ]
        for client in clients:
            await client.sign_up(stack)
        try:
            await _disturb(scene, clients, minutes, say)
            await _until_right(scene, say)
            await _until_nothing_is_left(scene, clients, say)
        except (AssertionError, ExceptionGroup, TimeoutError, subprocess.TimeoutExpired) as error:
            error.add_note(f"seed {seed}; {scene.ledger.summary()}\n{cluster.log_tails()}")
            raise
    return scene.ledger


async def _disturb(scene: Scene, clients: list[Client], minutes: float, say: Say) -> None:
    enough, until = asyncio.Event(), time.monotonic() + minutes * 60
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.work(enough))
        try:
            await scene.progress()
            faults = scene.random.sample(FAULTS, len(FAULTS))
            while faults or time.monotonic() < until:
                fault = faults.pop() if faults else scene.random.choice(FAULTS)
                say(f"{datetime.now(UTC):%H:%M:%S} {fault.__name__}: {fault.__doc__}")
                await fault(scene)
                await scene.progress()
        finally:
            enough.set()
    say(scene.ledger.summary())


async def _look(scene: Scene) -> Truth:
    known = {each.environment_id for each in scene.ledger.promises}
    return await asyncio.to_thread(Truth.look, scene.cluster.mongo_url, scene.cluster.data_dir / "data", known)


async def _until_right(scene: Scene, say: Say) -> None:
    """Wait until everything is as promised; what stays wrong for too long is the failure."""
    deadline = time.monotonic() + QUIET_PATIENCE_S
    while problems := (truth := await _look(scene)).problems(scene.ledger):
        assert time.monotonic() < deadline, "not as promised:\n" + "\n".join(problems[:PROBLEMS_SHOWN])
        await asyncio.sleep(0.2)
    certain = [each for each in scene.ledger.promises if each.exists and each.environment_id in truth.environments]
    lines = sum(len(each.typed) for each in certain)
    say(f"as promised: {len(certain)} environments with {lines} typed lines; there: {truth.counts()}")


async def _until_nothing_is_left(scene: Scene, clients: list[Client], say: Say) -> None:
    """Delete everything, stop everything, and count what remains."""
    for client in clients:
        try:
            await client.delete_everything()
        except (Refused, httpx.HTTPError) as error:
            raise AssertionError(f"a deletion failed although nothing was disturbed any more: {error!r}") from error
    deadline = time.monotonic() + QUIET_PATIENCE_S
    while any((counts := (await _look(scene)).counts()).values()):
        assert time.monotonic() < deadline, f"left over after everything was deleted: {counts}"
        await asyncio.sleep(0.2)
    assert await scene.cluster.stop_servers() == [0] * len(scene.cluster.servers)
    truth = await _look(scene)
    assert not truth.leases, f"leases outlive their processes: {truth.leases}"
    data_dir = str(scene.cluster.data_dir / "data")
    assert not processes_naming(data_dir), f"processes of {data_dir} are left"
    say(f"left over in the end: {sum(truth.counts().values())}")
