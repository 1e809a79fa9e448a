"""An environment that nobody uses: warned, stopped, woken by the next terminal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess
from tests.phone.client import Phone

PLANS = """\
default: free
plans:
  free:
    environments: 1
    sockets: 10
    idle_timeout: 10s
    wake_on_connect: true
    default_resources: {cpu: 500m, memory: 256Mi, storage: 1Gi}
    max_resources: {cpu: 1000m, memory: 1Gi, storage: 2Gi}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    plans = tmp_path / "plans.yaml"
    plans.write_text(PLANS)
    process = ServerProcess(
        PLANS_FILE=str(plans), IDLE_WARNING="6s", SAMPLE_INTERVAL="1s", WATCHED_SAMPLE_INTERVAL="1s"
    )
    try:
        process.start()
        yield process
    finally:
        process.close()


@pytest.mark.slow
async def test_idling_warns_then_stops_and_the_next_terminal_wakes_it(server: ServerProcess) -> None:
    async with Phone(server.url, username="idler") as phone:
        await phone.sign_up()
        environment_id = (await phone.create())["id"]
        await phone.until(environment_id, "running")
        async with phone.terminal(environment_id) as terminal:
            await terminal.run("cd /tmp && echo moved-$((40+2))", "moved-42")
            assert "stops in" in (await terminal.wait_for("info", 20))["message"]
            await phone.until(environment_id, "stopped")
        metrics = (await phone.call("GET", f"/environments/{environment_id}/metrics")).json()
        assert metrics["history"]
        assert metrics["history"][-1]["memory_usage"] > 0
        async with phone.terminal(environment_id) as terminal:
            await phone.until(environment_id, "running")
            await terminal.run("pwd", "/tmp")
        logs = (await phone.call("GET", f"/environments/{environment_id}/logs")).json()["logs"]
        assert any("Stopped after 10 seconds without use." in line for line in logs)
        await phone.delete(environment_id)
