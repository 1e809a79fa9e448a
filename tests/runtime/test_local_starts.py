"""Several server processes that start at the same time on one ``DATA_DIR``."""

import asyncio

import pytest

from devpocket.clock import SystemClock
from devpocket.ids import EnvironmentId
from devpocket.runtime.local import preflight
from devpocket.runtime.local.configuration import LocalRuntimeSettings
from devpocket.runtime.local.driver import LocalRuntime
from devpocket.runtime.local.layout import Layout
from devpocket.runtime.port import ContainerState
from devpocket.settings import LocalNetwork
from tests.runtime.local_tools import inside, living, make_spec


async def test_none_takes_the_trial_of_another_for_rubbish(start_local, tmp_path):
    await start_local(network=LocalNetwork.NONE)  # skips where there are no sandboxes
    settings = LocalRuntimeSettings(data_dir=tmp_path / "data", network=LocalNetwork.NONE)
    runtimes = [LocalRuntime(settings, SystemClock()) for _ in range(4)]
    try:
        await asyncio.gather(*(runtime.start() for runtime in runtimes))
        for runtime in runtimes:
            assert (await runtime.check()).network == "none"
    finally:
        for runtime in runtimes:
            await runtime.close()
    assert list((tmp_path / "data" / "trash").iterdir()) == []


def test_a_trial_is_not_taken_for_what_was_deleted(tmp_path):
    layout = Layout(tmp_path)
    layout.create()
    trial, deleted = layout.trash / EnvironmentId("a" * 24), layout.trash / f"{'b' * 24}-0123abcd"
    trial.mkdir()
    deleted.mkdir()
    assert layout.discarded() == [deleted]
    assert [paths.root for paths in layout.trials()] == [trial]


async def test_a_trial_that_a_dead_process_left_is_ended(start_local, tmp_path, monkeypatch):
    ended: list[EnvironmentId] = []

    async def die(environment_id, *_, **__):
        ended.append(environment_id)
        raise RuntimeError("the process dies")

    with monkeypatch.context() as patch:
        patch.setattr(preflight, "end_sandbox", die)
        with pytest.raises(RuntimeError, match="the process dies"):
            await start_local()
    assert len(living(ended[0].encode())) > 0
    await start_local()
    assert living(ended[0].encode()) == []
    assert list((tmp_path / "data" / "trash").iterdir()) == []


async def test_one_that_was_cut_short_is_not_taken_for_a_running_one(start_local):
    """As when a process that is stopped hands a creation over to another, which looks at once."""
    leaving, other = await start_local(), await start_local()
    for _ in range(5):
        spec = make_spec()
        starting = asyncio.create_task(leaving.ensure_running(spec))
        while await other.observe(spec.environment_id) is not ContainerState.RUNNING:
            assert not starting.done()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert other._ready.environments.state(spec.environment_id) is ContainerState.STOPPED
        await other.ensure_running(spec)
        assert await inside(other, spec, "echo fine") == "fine"
        await other.ensure_deleted(spec.environment_id)
