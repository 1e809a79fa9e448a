"""kill -9 of the server, wherever it hurts, and a start on the same data: nothing is lost."""

import re

import pytest

from tests.e2e.conftest import Phones
from tests.e2e.server import ServerProcess
from tests.phone import parsers


async def test_shells_and_half_typed_lines_outlive_the_server(phones: Phones, server: ServerProcess):
    phone = await phones()
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("kept=4711; echo p$((1 + 1))d-$$-", "p2d-")
        pid = re.search(r"p2d-(\d+)-", terminal.shown)
        assert pid
        await terminal.press("half_typed_and_")
        await terminal.see("half_typed_and_")
        server.kill()
        await terminal.wait_closed()
    server.start()
    assert (await phone.environment(environment_id))["status"] == "running"
    async with phone.terminal(environment_id) as terminal:
        await terminal.see("half_typed_and_")
        await terminal.run("echo still-$kept-$$-", f"still-4711-{pid.group(1)}-")


@pytest.mark.parametrize("moment", ["at once", "while it installs"])
async def test_a_creation_that_was_cut_off_is_finished(phones: Phones, server: ServerProcess, moment: str):
    phone = await phones()
    environment_id = (await phone.create(template="slow"))["id"]
    if moment == "while it installs":
        async with phone.logs(environment_id) as logs:
            await logs.wait_for("installation_log")
    server.kill()
    server.start()
    environment = await phone.until(environment_id, "running")
    assert environment["installation_completed"] is True
    text = "\n".join((await phone.fetch("GET", f"/environments/{environment_id}/logs", parsers.LOGS))["logs"])
    assert [text.count(f"step {number} of 6") for number in range(1, 7)] == [1] * 6
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("echo r$((1 + 1))n", "r2n")


@pytest.mark.parametrize(("command", "status"), [("stop", "stopped"), ("restart", "running"), ("delete", "gone")])
async def test_a_command_that_was_cut_off_is_finished(phones: Phones, server: ServerProcess, command: str, status: str):
    phone = await phones()
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    if command == "delete":
        await phone.delete(environment_id)
    else:
        await phone.command(environment_id, command)
    server.kill()
    server.start()
    if status == "gone":
        assert await phone.environments() == []
    else:
        await phone.until(environment_id, status)


async def test_an_orderly_stop_leaves_environments_running_too(phones: Phones, server: ServerProcess):
    phone = await phones()
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    async with phone.terminal(environment_id) as terminal, phone.logs(environment_id) as logs:
        await terminal.run("kept=0815; echo r$((1 + 1))y", "r2y")
        await logs.wait_for("welcome")
        assert server.stop() == 0
        assert (await terminal.wait_closed())[0] in {1001, 1012}
        assert (await logs.wait_closed())[0] in {1001, 1012}
    server.start()
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("echo still-$kept-", "still-0815-")
