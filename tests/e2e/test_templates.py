"""Every template of the product really starts here, whatever this machine has, also without a network."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import leave_nothing_behind
from tests.e2e.server import ServerProcess
from tests.phone import parsers
from tests.phone.client import Phone

NAMES = ("python", "nodejs", "golang", "rust", "react", "nextjs", "flutter", "postgres", "ubuntu", "coding-agent")


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    process = ServerProcess(LOCAL_NETWORK="none")
    try:
        process.start()
        yield process
        leave_nothing_behind(process)
    finally:
        process.close()


async def test_each_becomes_running_with_a_whole_installation(server: ServerProcess):
    async with Phone(server.url, username="visitor") as visitor:
        await visitor.sign_up()
        assert {template["name"] for template in await visitor.templates()} == set(NAMES)
    said = dict(zip(NAMES, await asyncio.gather(*(said_by(server, name) for name in NAMES)), strict=True))
    assert "The shell is ready" in said["ubuntu"]
    for name, text in said.items():
        assert "ommand not found" not in text, name
        assert "Traceback" not in text, name


async def said_by(server: ServerProcess, name: str) -> str:
    """Make an environment of that template, and return what its installation said once it runs."""
    async with Phone(server.url, username=f"user_of_{name.replace('-', '_')}") as phone:
        await phone.sign_up()
        environment_id = (await phone.create(name, template=name))["id"]
        environment = await phone.until(environment_id, "running", patience_s=100)
        logs = await phone.fetch("GET", f"/environments/{environment_id}/logs", parsers.LOGS)
        text = "\n".join(logs["logs"])
        assert environment["installation_completed"] is True, text
        async with phone.terminal(environment_id) as terminal:
            await terminal.run("echo r$((1 + 1))y", "r2y")
        await phone.delete(environment_id)
        return text


async def test_ubuntu_runs_within_a_second(server: ServerProcess):
    async with Phone(server.url, username="hurried") as phone:
        await phone.sign_up()
        took_s = []
        for number in range(3):
            started = time.monotonic()
            environment_id = (await phone.create(f"Number {number}"))["id"]
            await phone.until(environment_id, "running")
            took_s.append(time.monotonic() - started)
            await phone.delete(environment_id)
        assert min(took_s) < 1
