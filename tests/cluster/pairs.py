"""Two server processes on one MongoDB and one ``DATA_DIR``, of which a test knows who owns what."""

import asyncio
import itertools
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from pymongo import MongoClient

from devpocket.clock import SystemClock
from devpocket.store import open_store
from devpocket.store.port import Store
from tests.e2e.server import ServerProcess, end_environments, processes_naming, wait_until
from tests.mongodb import with_database
from tests.phone.client import Phone

ENVIRONMENTS = 3
"""What the plan of everybody allows who was given no other."""
METRICS_TOKEN = "a-token-for-the-figures"
_PLAN = """\
  {name}:
    environments: {environments}
    sockets: 500
    idle_timeout: {idle_timeout}
    wake_on_connect: true
    default_resources: {{cpu: 500m, memory: 256Mi, storage: 1Gi}}
    max_resources: {{cpu: 1000m, memory: 1Gi, storage: 2Gi}}
"""
_TEMPLATE = """\
name: {name}
display_name: {name}
description: For tests
category: devops
docker_image: ubuntu:22.04
default_resources: {{cpu: 500m, memory: 256Mi, storage: 1Gi}}
startup_commands:
  - {command}
"""
TEMPLATES = {
    "quick": "'true'",
    "steps": "for step in 1 2 3 4 5 6 7 8; do echo step $step of 8; sleep 0.5; done",
    "hanging": "sleep 1000",
    "chatty": "until [ -e ~/go ]; do sleep 0.1; done; printf '%0900d\\n' {1..1200}; exit 1",
}
_numbers = itertools.count(1)


class Pair:
    """The servers, and the database as it is beneath them."""

    def __init__(self, data_dir: Path, database_url: str, client: MongoClient[dict[str, Any]], name: str) -> None:
        self.data_dir = data_dir
        self.database_url = database_url
        self.database = client[name]
        self.servers: list[ServerProcess] = []
        self.process_ids: list[str] = []

    def start(self, number: int) -> None:
        """Start a server, again perhaps, and learn by which name it holds leases."""
        before = self._processes()
        self.servers[number].start()
        wait_until(lambda: self._processes() - before, "the lease of a process")
        (lease_id,) = self._processes() - before
        self.process_ids[number] = lease_id.removeprefix("process:")

    def _processes(self) -> set[str]:
        return {each["_id"] for each in self.database.leases.find({"_id": {"$regex": "^process:"}})}

    def document(self, environment_id: str) -> dict[str, Any]:
        """Return the environment as it is stored; nothing in it when it is gone."""
        return self.database.environments.find_one({"_id": environment_id}) or {}

    def lease(self, environment_id: str) -> dict[str, Any]:
        """Return its lease as it is stored; nothing in it when there is none."""
        return self.database.leases.find_one({"_id": environment_id}) or {}

    def owner(self, environment_id: str) -> int | None:
        """Return the number of the server that holds its lease."""
        owner = self.lease(environment_id).get("owner")
        return self.process_ids.index(owner) if owner in self.process_ids else None

    def is_running(self, environment_id: str) -> bool:
        """Whether it runs and nothing is left to do."""
        document = self.document(environment_id)
        return document.get("phase") == "running" and bool(document["settled"])

    def slots(self, user_id: str) -> set[str]:
        """Return the ids of the environments for which the user's plan is charged."""
        counter = self.database.counters.find_one({"_id": f"environments:{user_id}"}) or {"members": []}
        return {member.partition("@")[0] for member in counter["members"]}

    def environments_of(self, user_id: str) -> set[str]:
        """Return the ids of all documents of a user."""
        return {each["_id"] for each in self.database.environments.find({"user_id": user_id})}

    def sandbox_pids(self, environment_id: str) -> list[int]:
        """Return the processes of an environment."""
        return processes_naming(environment_id)

    def give_plan(self, phone: Phone, plan: str) -> None:
        """Put somebody on another plan."""
        changed = self.database.users.update_one({"username": phone.username}, {"$set": {"subscription_plan": plan}})
        assert changed.matched_count == 1

    def figure(self, number: int, name: str) -> float:
        """Return one of a server's figures, by its name with labels; 0 for one that it does not have."""
        headers = {"authorization": f"Bearer {METRICS_TOKEN}"}
        text = httpx.get(f"{self.servers[number].url}/metrics", headers=headers, timeout=10).text
        found = re.search(rf"^devpocket_{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """Give the store, as a further process would open it."""
        store = open_store(self.database_url, SystemClock())
        await store.start()
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def person(self) -> AsyncIterator[list[Phone]]:
        """Give somebody's phones, one for each server; everything of theirs is deleted at the end."""
        name = f"person_{next(_numbers)}"
        async with Phone(self.servers[0].url, username=name) as one, Phone(self.servers[1].url, username=name) as two:
            await one.sign_up()
            two.tokens = one.tokens
            user_id = self.user_id(one)
            yield [one, two]
            for environment_id in self.environments_of(user_id):
                if self.document(environment_id).get("desired") != "deleted":
                    await two.delete(environment_id)
            await eventually(lambda: not self.environments_of(user_id), "the removal of everything")
            await eventually(lambda: not self.slots(user_id), "the release of all slots")

    def user_id(self, phone: Phone) -> str:
        """Return the id of the person with that phone."""
        document = self.database.users.find_one({"username": phone.username})
        assert document
        return str(document["_id"])

    async def create(self, phone: Phone, template: str = "quick") -> str:
        """Create an environment and return its id once it runs."""
        environment_id = str((await phone.create(f"Environment {next(_numbers)}", template))["id"])
        await eventually(lambda: self.is_running(environment_id), "the start of an environment")
        return environment_id

    def close(self) -> None:
        """End whatever is left, and tell of servers that ended by themselves."""
        for server in self.servers:
            server.close()
        end_environments(self.data_dir)
        shutil.rmtree(self.data_dir, ignore_errors=True)


async def eventually(condition: Callable[[], object], what: str, patience_s: float = 20.0) -> float:
    """Return after how many seconds ``condition`` holds; fails when it does not within ``patience_s``."""
    began_s = time.monotonic()
    while not await asyncio.to_thread(condition):
        assert time.monotonic() - began_s < patience_s, f"{what} did not happen within {patience_s:g} s"
        await asyncio.sleep(0.005)
    return time.monotonic() - began_s


async def shell_of(phone: Phone, environment_id: str) -> int:
    """Return the process id, as seen inside, of the shell at the terminal."""
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("echo p$((1 + 1))d-$$-", "p2d-")
        found = re.search(r"p2d-(\d+)-", terminal.shown)
        assert found
        return int(found.group(1))


@contextmanager
def running_pair(mongodb_url: str, **settings: str) -> Iterator[Pair]:
    """Give two running servers for the time of a ``with`` block; ``settings`` are further ones."""
    # Not below pytest's own folder, which only root may pass: environments do not run as root.
    data_dir = Path(tempfile.mkdtemp(prefix="devpocket-pair-"))
    data_dir.chmod(0o711)
    name = f"pair_{secrets.token_hex(6)}"
    url = with_database(mongodb_url, name)
    with MongoClient[dict[str, Any]](mongodb_url, tz_aware=True) as client:
        pair = Pair(data_dir, url, client, name)
        try:
            _set_up(pair, settings)
            yield pair
        finally:
            pair.close()
            client.drop_database(name)


def _set_up(pair: Pair, settings: dict[str, str]) -> None:
    plans = [("free", ENVIRONMENTS, "never"), ("hasty", 3, "10s"), ("roomy", 100, "never")]
    text = "".join(_PLAN.format(name=name, environments=count, idle_timeout=idle) for name, count, idle in plans)
    (pair.data_dir / "plans.yaml").write_text(f"default: free\nplans:\n{text}")
    variables = {
        "DATA_DIR": str(pair.data_dir / "data"),
        "DATABASE_URL": pair.database_url,
        "PLANS_FILE": str(pair.data_dir / "plans.yaml"),
        "LOCAL_NETWORK": "none",
        "RATE_LIMIT_MAX_REQUESTS": "1000000",
        "AUTH_RATE_LIMIT_MAX_REQUESTS": "1000000",
        "SOCKETS_PER_USER": "500",
        "METRICS_TOKEN": METRICS_TOKEN,
        **settings,
    }
    pair.servers = [ServerProcess(**variables) for _ in range(2)]
    pair.process_ids = ["", ""]
    templates = pair.data_dir / "templates"
    templates.mkdir()
    for name, command in TEMPLATES.items():
        (templates / f"{name}.yaml").write_text(_TEMPLATE.format(name=name, command=command))
    loaded = pair.servers[0].run("load-templates", str(templates))
    assert loaded.returncode == 0, loaded.stderr
    pair.start(0)
    pair.start(1)
