"""What several processes promise: one owner at a time, commands anywhere, plans that hold, a stop that hands over."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from pymongo import AsyncMongoClient

from tests.cluster.processes import DATABASE, ENVIRONMENTS, Cluster, running_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

API = "/api/v1"


class Somebody:
    """A signed-up user, who may ask any of the servers."""

    def __init__(self, web: httpx.AsyncClient, cluster: Cluster, answer: dict[str, Any]) -> None:
        self._web = web
        self._cluster = cluster
        self._headers = {"Authorization": f"Bearer {answer['access_token']}"}
        self.id = answer["user"]["id"]

    async def ask(self, server: int, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a request to the server of that number."""
        url = f"{self._cluster.servers[server].url}{API}{path}"
        return await self._web.request(method, url, headers=self._headers, json=body)

    async def create(self, server: int, name: str) -> str:
        """Make an environment and return its id once it runs."""
        made = await self.ask(server, "POST", "/environments", {"name": name, "template_id": "ubuntu"})
        assert made.status_code == 201, made.text
        environment_id = str(made.json()["id"])

        async def runs() -> bool:
            shown = await self.ask(server, "GET", f"/environments/{environment_id}")
            return bool(shown.json()["status"] == "running")

        await until(runs)
        return environment_id


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 30.0) -> None:
    """Wait until ``condition`` holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - it is in another process, where nothing can be awaited
            await asyncio.sleep(0.02)


def database(cluster: Cluster) -> Any:
    """Return a client of the cluster's MongoDB, whose documents are looked into without ceremony."""
    return AsyncMongoClient(cluster.mongo_url, tz_aware=True)


async def sign_up(web: httpx.AsyncClient, cluster: Cluster, name: str) -> Somebody:
    body = {"username": name, "email": f"{name}@example.org", "password": "Turtle55"}
    answer = await web.post(f"{cluster.servers[0].url}{API}/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    return Somebody(web, cluster, answer.json())


async def test_an_environment_always_has_one_owner_and_hears_everybody() -> None:
    async with (
        running_cluster(2) as cluster,
        httpx.AsyncClient(timeout=30) as web,
        database(cluster) as mongo,
    ):
        leases, environments = mongo[DATABASE]["leases"], mongo[DATABASE]["environments"]
        ada = await sign_up(web, cluster, "ada")
        environment_id = await ada.create(0, "Shared")

        async def owner() -> str:
            lease = await leases.find_one({"_id": environment_id})
            return str(lease["owner"]) if lease else ""

        async def is_in(phase: str) -> bool:
            document = await environments.find_one({"_id": environment_id})
            return bool(document and document["phase"] == phase)

        # A command to a process that does not own it is acted on by the one that does.
        first = await owner()
        update = await ada.ask(1, "PUT", f"/environments/{environment_id}", {"environment_variables": {"A": "1"}})
        assert update.status_code == 200

        async def is_updated() -> bool:
            document = await environments.find_one({"_id": environment_id})
            return bool(document and document["revised"] == document["revision"] == 2)

        await until(is_updated, 5)
        assert await owner() == first

        # An orderly stop hands it over, untouched.
        booted = (await environments.find_one({"_id": environment_id}))["booted"]
        assert await asyncio.to_thread(cluster.servers[0].stop) == 0

        async def is_handed_over() -> bool:
            return await owner() not in ("", "None", first)

        await until(is_handed_over, 5)
        second = await owner()
        document = await environments.find_one({"_id": environment_id})
        assert (document["phase"], document["booted"]) == ("running", booted)

        # A killed owner is followed by another; the fence has grown with each.
        fence = (await leases.find_one({"_id": environment_id}))["fence"]
        await asyncio.to_thread(cluster.servers[0].start)
        await asyncio.to_thread(cluster.servers[1].kill)

        async def is_taken_over() -> bool:
            return await owner() not in ("", "None", second)

        await until(is_taken_over, 15)
        assert (await leases.find_one({"_id": environment_id}))["fence"] > fence
        assert (await ada.ask(0, "POST", f"/environments/{environment_id}/stop")).status_code == 200
        await until(lambda: is_in("stopped"))
        await asyncio.to_thread(cluster.servers[1].start)


async def test_a_process_that_slept_through_its_lease_changes_nothing_any_more() -> None:
    async with (
        running_cluster(2) as cluster,
        httpx.AsyncClient(timeout=30) as web,
        database(cluster) as mongo,
    ):
        leases, environments = mongo[DATABASE]["leases"], mongo[DATABASE]["environments"]
        ada = await sign_up(web, cluster, "ada")
        environment_id = await ada.create(0, "Slept")
        first = await leases.find_one({"_id": environment_id})
        sleeping = asyncio.create_task(cluster.pause_server(0, 8.0))

        async def is_taken_over() -> bool:
            lease = await leases.find_one({"_id": environment_id})
            return bool(lease["owner"] not in (None, first["owner"]))

        await until(is_taken_over, 15)
        assert (await ada.ask(1, "POST", f"/environments/{environment_id}/stop")).status_code == 200

        async def is_stopped() -> bool:
            return bool((await environments.find_one({"_id": environment_id}))["phase"] == "stopped")

        await until(is_stopped)
        await sleeping

        async def is_awake() -> bool:
            return (await ada.ask(0, "GET", "/auth/me")).status_code == 200

        await until(is_awake)
        # Through the one that slept: it sees what the other did, and takes orders again.
        shown = await ada.ask(0, "GET", f"/environments/{environment_id}")
        assert shown.json()["status"] == "stopped"
        document = await environments.find_one({"_id": environment_id})
        assert document["fence"] > first["fence"]
        assert (await ada.ask(0, "POST", f"/environments/{environment_id}/start")).status_code == 200


async def test_a_plan_holds_whoever_asks_how_often_and_where() -> None:
    async with (
        running_cluster(2) as cluster,
        httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=60)) as web,
        database(cluster) as mongo,
    ):
        ada = await sign_up(web, cluster, "ada")
        twins = [ada.ask(server, "POST", "/environments", wish("Twin")) for server in (0, 1)]
        assert sorted(answer.status_code for answer in await asyncio.gather(*twins)) == [201, 409]

        asked = [ada.ask(number % 2, "POST", "/environments", wish(f"E{number}")) for number in range(50)]
        statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
        assert statuses.count(201) == ENVIRONMENTS - 1
        assert statuses.count(403) == 50 - (ENVIRONMENTS - 1)

        slots = await mongo[DATABASE]["counters"].find_one({"_id": f"environments:{ada.id}"})
        live = await mongo[DATABASE]["environments"].count_documents({"user_id": ada.id})
        assert len(slots["members"]) == live == ENVIRONMENTS


def wish(name: str) -> dict[str, str]:
    return {"name": name, "template_id": "ubuntu"}
