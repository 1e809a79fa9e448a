"""The server is killed at any moment: what ran goes on running and is found again, what had not begun is not there."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from devpocket.domain.terminals import TerminalSize
from devpocket.ids import EnvironmentId
from devpocket.runtime.local.cgroups import GroupLimits, find_cgroups
from devpocket.runtime.local.identity import ProcessIdentity, boot_id, started_ticks
from devpocket.runtime.local.record import read_record
from devpocket.runtime.port import ContainerState, InstallationState
from tests.runtime.local_tools import inside, installed, living, make_spec, read_until, sandbox_of, until

SERVER = """
import asyncio, json, sys
from pathlib import Path
from devpocket.clock import SystemClock
from devpocket.runtime.local.configuration import LocalRuntimeSettings
from devpocket.settings import LocalNetwork
from devpocket.runtime.local.driver import LocalRuntime
from tests.runtime.local_tools import make_spec

async def main():
    runtime = LocalRuntime(LocalRuntimeSettings(Path(sys.argv[1]), network=LocalNetwork.NONE), SystemClock())
    await runtime.start()
    for _ in range(int(sys.argv[2])):
        spec = make_spec("until [ -e ~/go ]; do sleep 0.02; done; echo went on")
        print(json.dumps(spec.environment_id), flush=True)
        await runtime.ensure_running(spec)
        await runtime.ensure_terminal(spec)
        await runtime.ensure_installation(spec, 1)
        print("true", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Server:
    """A server process of its own, to be killed."""

    def __init__(self, data_dir, environments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(data_dir), str(environments)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )

    async def says(self):
        """Return the next thing that it says; None after its end."""
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        return json.loads(line) if line else None

    def kill(self):
        """End it without any warning."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


async def test_environments_are_found_again_after_a_kill(tmp_path, start_local):
    server = Server(tmp_path / "data", 1)
    environment_id = EnvironmentId(await server.says())
    assert await server.says() is True
    server.kill()

    runtime = await start_local()
    spec = replace(make_spec(), environment_id=environment_id)
    assert await runtime.observe(environment_id) is ContainerState.RUNNING
    before = sandbox_of(runtime, spec).init
    await runtime.ensure_running(spec)
    assert sandbox_of(runtime, spec).init == before
    assert (await runtime.installation(environment_id, 1, 0)).state is InstallationState.RUNNING
    await inside(runtime, spec, "touch ~/go")
    assert "\nwent on\n" in (await installed(runtime, environment_id)).text
    terminal = await runtime.attach(environment_id, TerminalSize())
    await terminal.write(b"echo st''ill\n")
    await read_until(terminal, "still")
    await terminal.close()
    await runtime.ensure_deleted(environment_id)
    assert living(environment_id.encode()) == []


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.02, 0.03, 0.05, 0.1])
async def test_a_kill_in_the_middle_of_a_creation_is_mended(tmp_path, start_local, delay_s):
    server = Server(tmp_path / "data", 50)
    environment_id = EnvironmentId(await server.says())
    await asyncio.sleep(delay_s)
    server.kill()

    async def is_whole_or_gone() -> bool:
        """Either it was written down, or it ends because its word to go on never comes."""
        pids = await asyncio.to_thread(living, environment_id.encode())
        record = read_record(tmp_path / "data" / "environments" / environment_id / "record.json")
        return bool(not pids or (record and record.sandbox and record.sandbox.init.is_alive))

    await until(is_whole_or_gone)
    runtime = await start_local()
    for found in await runtime.list_environments():
        spec = replace(make_spec(), environment_id=found)
        await runtime.ensure_running(spec)
        assert await inside(runtime, spec, "echo fine") == "fine"
        await runtime.ensure_deleted(found)
        assert living(found.encode()) == []
    assert list((tmp_path / "data" / "uids").iterdir()) == []


@pytest.mark.parametrize("end", ["stop", "delete"])
async def test_what_a_cut_off_start_left_goes_with_the_next_stop_or_deletion(tmp_path, start_local, end):
    runtime = await start_local()
    spec = make_spec()
    cgroups = find_cgroups(tmp_path / "data")
    cgroups.ensure(spec.environment_id, GroupLimits(500, 64 * 1024 * 1024, 50))
    uid = tmp_path / "data" / "uids" / "300000"
    uid.symlink_to(spec.environment_id)
    if end == "stop":
        await runtime.ensure_stopped(spec.environment_id)
    else:
        await runtime.ensure_deleted(spec.environment_id)
        assert not uid.is_symlink()
    assert spec.environment_id not in cgroups.left_over()


# --- whose pid is it ------------------------------------------------------------------------------------------------


def test_a_pid_that_was_given_away_again_is_somebody_else():
    own = ProcessIdentity.of(os.getpid())
    assert own.is_alive
    assert not replace(own, started_ticks=own.started_ticks - 1).is_alive
    assert not replace(own, boot_id="another boot").is_alive
    assert not replace(own, started_ticks=1).kill()
    assert own == ProcessIdentity(os.getpid(), started_ticks(os.getpid()), boot_id())


def test_an_ended_process_is_not_alive_even_before_it_is_reaped():
    process = subprocess.Popen(["sleep", "100"])
    identity = ProcessIdentity.of(process.pid)
    assert identity.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.is_alive
    process.wait()
    assert not identity.kill()
    with pytest.raises(ProcessLookupError):
        ProcessIdentity.of(process.pid)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"version": 99}', b'{"version": 1}', b"\xff"])
def test_a_record_that_cannot_be_read_is_none(tmp_path, content):
    (tmp_path / "record.json").write_bytes(content)
    assert read_record(tmp_path / "record.json") is None
    assert read_record(tmp_path / "absent") is None
