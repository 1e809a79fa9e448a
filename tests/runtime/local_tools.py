"""What tests of runtimes share: specs, waiting, typing, and looking at this machine from the outside."""

import asyncio
import contextlib
import functools
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from devpocket.domain.environments import EnvironmentSpec, ResourceLimits
from devpocket.ids import EnvironmentId, UserId, new_id
from devpocket.runtime.local.driver import LocalRuntime
from devpocket.runtime.local.identity import stat_fields
from devpocket.runtime.local.network import missing_for_private
from devpocket.runtime.local.record import SandboxRecord
from devpocket.runtime.port import InstallationProgress, InstallationState, Runtime, Terminal

PATIENCE_S = 20.0


def make_spec(*commands: str, memory: str = "512Mi", storage: str = "1Gi", cpu: str = "1000m", **variables: str):
    """Return what a new environment shall be; its id is in the command line of its sandbox, as the hostname."""
    environment_id = EnvironmentId(new_id())
    return EnvironmentSpec(
        environment_id=environment_id,
        user_id=UserId(new_id()),
        hostname=f"a-test-{environment_id}",
        image="debian",
        limits=ResourceLimits(cpu=cpu, memory=memory, storage=storage),
        variables=variables,
        startup_commands=commands,
    )


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = PATIENCE_S) -> None:
    """Return when the condition holds; fails the test when it does not within its time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.02)


async def read_until(terminal: Terminal, text: str) -> str:
    """Read until the terminal has shown ``text``; return all that was read."""
    shown = b""
    async with asyncio.timeout(PATIENCE_S):
        while text.encode() not in shown:
            data = await terminal.read()
            assert data, f"the terminal ended after {shown!r}"
            shown += data
    return shown.decode(errors="replace")


async def installed(runtime: Runtime, environment_id: EnvironmentId, attempt: int = 1) -> InstallationProgress:
    """Return how the start-up scripts ended."""
    progress = await runtime.installation(environment_id, attempt, 0)
    deadline = time.monotonic() + PATIENCE_S
    while progress.state is InstallationState.RUNNING:
        assert time.monotonic() < deadline, progress
        await asyncio.sleep(0.02)
        progress = await runtime.installation(environment_id, attempt, 0)
    return progress


async def inside(runtime: LocalRuntime, spec: EnvironmentSpec, script: str, *, deadline_s: float = 20.0) -> str:
    """Run a script in an environment and return what it printed; it has to succeed."""
    argv = ["bash", "-c", script]
    result = await runtime._ready.environments.run_inside(spec.environment_id, argv, deadline_s=deadline_s)
    assert result.exit_code == 0, result.text
    return result.text


async def outcome(runtime: LocalRuntime, spec: EnvironmentSpec, script: str) -> tuple[int, str]:
    """Run a script in an environment and return its exit code and what it printed."""
    argv = ["bash", "-c", script]
    result = await runtime._ready.environments.run_inside(spec.environment_id, argv, deadline_s=20.0)
    return result.exit_code, result.text


def sandbox_of(runtime: LocalRuntime, spec: EnvironmentSpec) -> SandboxRecord:
    """Return what is known of a running sandbox."""
    record = runtime._ready.environments.record(spec.environment_id)
    assert record is not None
    assert record.sandbox is not None
    return record.sandbox


def living(pattern: bytes) -> list[int]:
    """Return the processes of this machine, zombies excepted, whose command line or variables hold ``pattern``."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdecimal() and int(path.name) != os.getpid() and stat_fields(int(path.name))[0] != "Z":
                text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
                found += [int(path.name)] if pattern in text else []
        except OSError:
            continue
    return found


def children() -> set[int]:
    """Return the processes that this one has started and not yet reaped."""
    found: set[int] = set()
    for each in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # that thread has just ended
            found |= {int(pid) for pid in each.read_text().split()}
    return found


async def reap_since(before: set[int]) -> None:
    """Reap what a runtime left to run that has been closed: it would have died, and they would be nobody's children.

    Those of ``before`` belong to others, such as the servers of a whole session.
    """

    async def are_gone() -> bool:
        for pid in children() - before:
            with contextlib.suppress(ChildProcessError):
                await asyncio.to_thread(os.waitpid, pid, os.WNOHANG)
        return not children() - before

    await until(are_gone)


def uids_of(pids: Iterable[int]) -> set[int]:
    """Return the host uids of those processes that have not ended."""
    paths = (Path(f"/proc/{pid}") for pid in pids)
    return {path.stat().st_uid for path in paths if path.exists()}


def own_namespace(kind: str) -> str:
    """Return the name of one namespace of this process."""
    return str(Path(f"/proc/self/ns/{kind}").readlink())


def command_line(pid: int) -> bytes:
    """Return the command line of a process; nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def on_host(*parts: str | Path) -> bool:
    """Tell whether there is such a file or folder on the host."""
    return Path(*parts).exists()


def size_of(path: Path) -> int:
    """Return the size of a file on the host."""
    return path.stat().st_size


@functools.cache
def no_sandbox_reason() -> str:
    """Return why no sandbox can be made on this machine; empty when one can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    if shutil.which("tmux") is None:
        return "tmux is not installed"
    result = subprocess.run(
        ["bwrap", "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if result.returncode == 0 else f"bubblewrap does not work here: {result.stderr.strip()}"


def no_private_network_reason() -> str:
    """Return why no private network can be made on this machine; empty when one can."""
    return no_sandbox_reason() or missing_for_private()


class Notices:
    """Collects what users would be told."""

    def __init__(self) -> None:
        self.texts: list[tuple[EnvironmentId, str]] = []

    def __call__(self, environment_id: EnvironmentId, text: str) -> None:
        self.texts.append((environment_id, text))

    def of(self, spec: EnvironmentSpec) -> list[str]:
        """Return what the users of one environment were told."""
        return [text for environment_id, text in self.texts if environment_id == spec.environment_id]
