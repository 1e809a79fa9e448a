"""The runtimes that the contract is run over, and short ways to what tests of them need."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from devpocket.clock import SystemClock
from devpocket.runtime.local.configuration import LocalRuntimeSettings
from devpocket.runtime.local.driver import LocalRuntime
from devpocket.runtime.port import Runtime
from devpocket.settings import LocalNetwork
from tests.runtime.local_tools import Notices, children, no_sandbox_reason, reap_since


def make_local(data_dir: Path) -> Runtime:
    """Return a local runtime that has not been started."""
    if reason := no_sandbox_reason():
        pytest.skip(reason)
    settings = LocalRuntimeSettings(data_dir=data_dir, network=LocalNetwork.NONE, watch_s=0.2, stop_grace_s=1.0)
    return LocalRuntime(settings, SystemClock())


RUNTIMES: dict[str, Callable[[Path], Runtime]] = {"local": make_local}


@pytest.fixture(params=sorted(RUNTIMES))
async def make_runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], Runtime]]:
    """Makes runtimes of one kind that share what they keep."""
    make, before = RUNTIMES[request.param], children()
    yield lambda: make(tmp_path / "data")
    await reap_since(before)


@pytest.fixture
async def runtime(make_runtime: Callable[[], Runtime]) -> AsyncIterator[Runtime]:
    """A runtime that was started; its environments are deleted afterwards."""
    runtime = make_runtime()
    await runtime.start()
    yield runtime
    for environment_id in await runtime.list_environments():
        await runtime.ensure_deleted(environment_id)
    await runtime.close()


@pytest.fixture
def notices() -> Notices:
    """What the users of environments were told."""
    return Notices()


@pytest.fixture
async def start_local(tmp_path: Path, notices: Notices) -> AsyncIterator[Callable[..., object]]:
    """Starts local runtimes with their own settings; their environments are deleted afterwards."""
    if reason := no_sandbox_reason():
        pytest.skip(reason)
    started: list[LocalRuntime] = []
    before = children()

    async def start(**changes: object) -> LocalRuntime:
        defaults: dict[str, object] = {
            "data_dir": tmp_path / "data",
            "network": LocalNetwork.NONE,
            "watch_s": 0.2,
            "stop_grace_s": 1.0,
        }
        settings = LocalRuntimeSettings(**{**defaults, **changes})  # type: ignore[arg-type]
        runtime = LocalRuntime(settings, SystemClock(), notices)
        await runtime.start()
        started.append(runtime)
        return runtime

    yield start
    for runtime in started:
        for environment_id in await runtime.list_environments() if runtime._parts else []:
            await runtime.ensure_deleted(environment_id)
        await runtime.close()
    await reap_since(before)
