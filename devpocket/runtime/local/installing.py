"""Running the start-up scripts of an environment; how they are kept is in ``installation.py``."""

import asyncio
import contextlib
import os

from devpocket.domain.environments import EnvironmentSpec
from devpocket.ids import EnvironmentId
from devpocket.runtime.local.environments import Environments
from devpocket.runtime.local.installation import (
    LOG_BYTES,
    STARTUP,
    InstallationFiles,
    claim,
    latest_attempt,
    mark_ended,
    read_progress,
    runs,
    write_commands,
)
from devpocket.runtime.local.layout import EnvironmentPaths
from devpocket.runtime.local.sandbox import Entry
from devpocket.runtime.local.spawning import Nursery
from devpocket.runtime.local.threads import finish_in_thread
from devpocket.runtime.port import InstallationProgress

_END_S = 5.0
_SETTLE_S = 2.0
_END_SCRIPT = """
kill -TERM -- "-$1" || exit 0
for ((look = 0; look < 20; look++)); do kill -0 -- "-$1" || exit 0; sleep 0.1; done
kill -KILL -- "-$1"
"""


class Installer:
    """Starts runners inside environments and reads what they did."""

    def __init__(self, environments: Environments, nursery: Nursery) -> None:
        self._environments = environments
        self._nursery = nursery

    async def ensure(self, spec: EnvironmentSpec, attempt: int) -> None:
        """See the runtime port. Raises DriverError when the environment does not run."""
        paths = self._environments.layout.of(spec.environment_id)
        folder = f"{self._environments.sandboxes.home(paths)}/workspace"
        async with self._environments.locks.hold(spec.environment_id):
            with (
                self._environments.entering(spec.environment_id, folder=folder) as entry,
                claim(InstallationFiles.of(paths, attempt)) as held,
            ):
                if held is not None:
                    await finish_in_thread(write_commands, paths, attempt, spec.startup_commands)
                    self._start(paths, attempt, entry, *held)

    def _start(self, paths: EnvironmentPaths, attempt: int, entry: Entry, log: int, status: int) -> None:
        """Start the runner inside and, out here, what writes down what it says; both outlive this process."""
        files = self._environments.sandboxes.files(paths)
        runner = ["/usr/bin/setsid", "/bin/bash", "-p", f"{files}/install", f"{files}/{STARTUP}/{attempt}"]
        with contextlib.ExitStack() as stack:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            output, output_end = os.pipe2(os.O_CLOEXEC)
            states, states_end = os.pipe2(os.O_CLOEXEC)
            for descriptor in (null, output, output_end, states, states_end):
                stack.callback(os.close, descriptor)
            recorder = ["nice", "-n", "5", "bash", "-p", str(paths.etc / "record"), str(LOG_BYTES)]
            self._nursery.spawn(
                [*recorder, str(states), str(status)], stdin=output, stdout=log, stderr=null, pass_fds=(states, status)
            )
            self._nursery.spawn(
                [*entry.argv, *runner], stdin=null, stdout=output_end, stderr=states_end, pass_fds=entry.pass_fds
            )

    async def progress(self, environment_id: EnvironmentId, attempt: int, offset: int) -> InstallationProgress:
        """See the runtime port."""
        paths = self._environments.layout.of(environment_id)
        return await asyncio.to_thread(read_progress, InstallationFiles.of(paths, attempt), offset)

    async def ensure_ended(self, environment_id: EnvironmentId) -> None:
        """See the runtime port; what the scripts left in the background goes on."""
        paths = self._environments.layout.of(environment_id)
        attempt = await asyncio.to_thread(latest_attempt, paths)
        if attempt is None:
            return
        runner = await asyncio.to_thread(mark_ended, InstallationFiles.of(paths, attempt))
        if runner is not None:
            argv = ["bash", "-c", _END_SCRIPT, "end", str(runner)]
            await self._environments.run_inside(environment_id, argv, deadline_s=_END_S)
            await self.settle(environment_id)

    async def settle(self, environment_id: EnvironmentId) -> None:
        """Return once everything is written down that a runner said that was ended; after 2 s at the latest."""
        paths = self._environments.layout.of(environment_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                # Nothing tells when the lock is let go of.
                while await asyncio.to_thread(runs, paths):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
