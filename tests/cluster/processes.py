"""Several server processes on one MongoDB, one Redis and one ``DATA_DIR``, behind nginx: all real, all on loopback."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

from scripts.load_templates import TEMPLATES_FOLDER
from tests.cluster.nginx import Nginx
from tests.e2e.server import ServerProcess, end_environments
from tests.mongodb import MongoServer
from tests.redis_server import RedisServer, running_redis
from tests.store.relay import Relay

LEASE_TTL_S = 3.0
ENVIRONMENTS = 3
"""What the plan of everybody allows."""
DATABASE = "cluster"
TEMPLATE = "guarded"
_TEMPLATE = """\
name: guarded
display_name: Guarded
description: Notices when two installations run at once
category: devops
docker_image: ubuntu:22.04
default_resources: {cpu: 500m, memory: 256Mi, storage: 1Gi}
startup_commands:
  - |
    exec 9> ~/.installing
    flock -n 9 || echo "$$" >> ~/overlaps
    sleep 0.7
"""
_PLANS = f"""\
default: free
plans:
  free:
    environments: {ENVIRONMENTS}
    sockets: 50
    idle_timeout: never
    wake_on_connect: true
    default_resources: {{cpu: 500m, memory: 256Mi, storage: 1Gi}}
    max_resources: {{cpu: 1000m, memory: 1Gi, storage: 2Gi}}
"""


class Cluster:
    """What belongs together, and the ways to hurt it. What blocks here is called in a thread."""

    def __init__(self, data_dir: Path, mongo: MongoServer, relay: Relay, redis: RedisServer) -> None:
        self.data_dir = data_dir
        self.redis = redis
        self.servers: list[ServerProcess] = []
        self.nginx: Nginx | None = None
        self._mongo = mongo
        self._mongo_directory = data_dir / "mongodb"
        self._relay = relay

    @property
    def mongo_url(self) -> str:
        """The database, past the relay."""
        return f"{self._mongo.url}{DATABASE}"

    @property
    def urls(self) -> list[str]:
        """The address of nginx first, then those of the servers."""
        assert self.nginx
        return [self.nginx.url, *(server.url for server in self.servers)]

    async def start_servers(self, count: int, variables: Mapping[str, str]) -> None:
        """Start the first, which sets up the database, then the others at once, and nginx before all."""
        shared = {
            "DATA_DIR": str(self.data_dir / "data"),
            "DATABASE_URL": f"mongodb://127.0.0.1:{self._relay.port}/{DATABASE}",
            "REDIS_URL": str(self.redis.url),
            **variables,
        }
        self.servers = [ServerProcess(**shared) for _ in range(count)]
        await asyncio.to_thread(self._load_templates)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in self.servers))
        self.nginx = Nginx(self.data_dir / "nginx", [server.port for server in self.servers])
        await asyncio.to_thread(self.nginx.start)

    def _load_templates(self) -> None:
        folder = self.data_dir / "templates"
        folder.mkdir()
        (folder / f"{TEMPLATE}.yaml").write_text(_TEMPLATE)
        shutil.copy(TEMPLATES_FOLDER / "ubuntu.yaml", folder)
        loaded = self.servers[0].run("load-templates", str(folder))
        assert loaded.returncode == 0, loaded.stderr

    # --- what is done to it ------------------------------------------------------------------------------------------

    async def kill_server(self, number: int) -> None:
        """kill -9, and another in its place."""
        await asyncio.to_thread(self.servers[number].kill)
        await asyncio.to_thread(self.servers[number].start)

    async def replace_server(self, number: int) -> None:
        """An orderly stop, and another in its place."""
        assert await asyncio.to_thread(_stopped, self.servers[number]) == 0
        await asyncio.to_thread(self.servers[number].start)

    async def pause_server(self, number: int, pause_s: float) -> None:
        """SIGSTOP, and SIGCONT after ``pause_s``."""
        process = self.servers[number].process
        assert process
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(pause_s)
        finally:
            process.send_signal(signal.SIGCONT)

    async def kill_redis(self, away_s: float) -> None:
        """kill -9 of Redis, which comes back with nothing."""
        await asyncio.to_thread(self.redis.kill)
        await asyncio.sleep(away_s)
        await asyncio.to_thread(self.redis.start)

    async def pause_redis(self, pause_s: float) -> None:
        """Connections stay open and nothing answers."""
        with self.redis.paused():
            await asyncio.sleep(pause_s)

    async def kill_mongodb(self, away_s: float) -> None:
        """kill -9 of the database, which comes back on the same data."""
        await self.end_mongodb()
        await asyncio.sleep(away_s)
        await self.start_mongodb()

    async def end_mongodb(self) -> None:
        """kill -9 of the database."""
        await asyncio.to_thread(self._mongo.kill)

    async def start_mongodb(self) -> None:
        """Start the database again, on the same data."""
        self._mongo = await asyncio.to_thread(MongoServer.start, self._mongo_directory)
        self._relay.target = self._mongo.port

    async def cut_mongodb(self, away_s: float) -> None:
        """All connections to the database break, and new ones are refused for a while."""
        await self._relay.cut()
        await asyncio.sleep(away_s)
        await self._relay.restore()

    async def stall_mongodb(self, stall_s: float) -> None:
        """Connections to the database stay open, and nothing comes through."""
        with self._relay.stalled():
            await asyncio.sleep(stall_s)

    @asynccontextmanager
    async def stalled_mongodb_after(self, marker: bytes) -> AsyncIterator[None]:
        """Lose the answer to the next request that contains ``marker``; from then on nothing comes through."""
        with ExitStack() as stack:

            async def stall() -> None:
                stack.enter_context(self._relay.stalled())

            self._relay.lose_answer_to(marker, stall)
            yield

    async def kill_all_servers(self) -> None:
        """kill -9 of every server at once, as when the machine loses its power, and all of them again."""
        await asyncio.gather(*(asyncio.to_thread(server.kill) for server in self.servers))
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in self.servers))

    async def reload_nginx(self) -> None:
        """``nginx -s reload``."""
        assert self.nginx
        self.nginx.reload()

    # --- its end -----------------------------------------------------------------------------------------------------

    async def stop_servers(self) -> list[int]:
        """End the servers in an orderly way, all at once; return their exit codes."""
        return list(await asyncio.gather(*(asyncio.to_thread(_stopped, server) for server in self.servers)))

    def log_tails(self) -> str:
        """The last words of every server."""
        return "\n".join(f"--- server {number}\n{server.log_tail()}" for number, server in enumerate(self.servers))

    def close(self) -> None:
        """End whatever is left."""
        if self.nginx is not None:
            self.nginx.stop()
        for server in self.servers:
            server.close()
        self._mongo.stop()
        end_environments(self.data_dir)
        shutil.rmtree(self.data_dir, ignore_errors=True)


def _stopped(server: ServerProcess) -> int:
    """End it in an orderly way and return its exit code, which is 0 also when it hung and was cut off: that fails."""
    code = server.stop()
    said = server.output.read_text(errors="replace")
    assert "is cut off" not in said, f"a stop hung:\n{said[said.index('is cut off') :][:8000]}"
    return code


@asynccontextmanager
async def running_cluster(servers: int = 3, **variables: str) -> AsyncIterator[Cluster]:
    """Give a cluster for the time of a ``with`` block; ``variables`` are further settings of its servers."""
    data_dir = _make_folder()
    settings = {
        "LEASE_TTL": f"{LEASE_TTL_S:g}s",
        "SWEEP_INTERVAL": "500ms",
        "ORPHAN_SWEEP_INTERVAL": "2s",
        **shared_settings(data_dir),
        **variables,
    }
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(running_redis(data_dir))
        mongo = await asyncio.to_thread(MongoServer.start, data_dir / "mongodb")
        relay = await stack.enter_async_context(Relay.running(mongo.port))
        cluster = Cluster(data_dir, mongo, relay, redis)
        stack.push_async_callback(asyncio.to_thread, cluster.close)
        await cluster.start_servers(servers, settings)
        yield cluster


def _make_folder() -> Path:
    # Not below pytest's own folder, which only root may pass: environments do not run as root.
    folder = Path(tempfile.mkdtemp(prefix="devpocket-cluster-"))
    folder.chmod(0o711)
    return folder


def shared_settings(folder: Path) -> dict[str, str]:
    """Return settings under which clients are limited by nothing but the plan, whose file is written to ``folder``."""
    plans = folder / "plans.yaml"
    plans.write_text(_PLANS)
    return {
        "PLANS_FILE": str(plans),
        "LOCAL_NETWORK": "none",
        "TRUSTED_PROXIES": "127.0.0.1",
        "RATE_LIMIT_MAX_REQUESTS": "1000000",
        "AUTH_RATE_LIMIT_MAX_REQUESTS": "1000000",
        "SOCKETS_PER_USER": "50",
    }
