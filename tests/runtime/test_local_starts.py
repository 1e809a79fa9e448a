"""Several server processes that start at the same time on one ``DATA_DIR``."""

import asyncio
import os
import time

from devpocket.clock import SystemClock
from devpocket.ids import EnvironmentId
from devpocket.runtime.local.configuration import LocalRuntimeSettings, NetworkMode
from devpocket.runtime.local.driver import LocalRuntime
from devpocket.runtime.local.layout import TRIAL_S, Layout


async def test_none_takes_the_trial_of_another_for_rubbish(start_local, tmp_path):
    await start_local(network=NetworkMode.NONE)  # skips where there are no sandboxes
    settings = LocalRuntimeSettings(data_dir=tmp_path / "data", network=NetworkMode.NONE)
    runtimes = [LocalRuntime(settings, SystemClock()) for _ in range(4)]
    try:
        await asyncio.gather(*(runtime.start() for runtime in runtimes))
        for runtime in runtimes:
            assert (await runtime.check()).network == "none"
    finally:
        for runtime in runtimes:
            await runtime.close()
    assert list((tmp_path / "data" / "trash").iterdir()) == []


def test_a_trial_is_left_alone_until_it_is_old(tmp_path):
    layout = Layout(tmp_path)
    layout.create()
    trial, deleted = layout.trash / EnvironmentId("a" * 24), layout.trash / f"{'b' * 24}-0123abcd"
    trial.mkdir()
    deleted.mkdir()
    assert layout.discarded() == [deleted]
    long_ago = time.time() - TRIAL_S - 1
    os.utime(trial, (long_ago, long_ago))
    assert layout.discarded() == [trial, deleted]
