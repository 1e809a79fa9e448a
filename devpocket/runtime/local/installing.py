"""Running the start-up scripts of an environment; how they are kept is in ``installation.py``."""

import asyncio
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
    write_commands,
)
from devpocket.runtime.local.spawning import Nursery
from devpocket.runtime.port import InstallationProgress

_END_S = 5.0
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
        sandboxes = self._environments.sandboxes
        folder = f"{sandboxes.home(paths)}/workspace"
        async with self._environments.locks.hold(spec.environment_id):
            with (
                self._environments.entering(spec.environment_id, folder=folder) as entry,
                claim(InstallationFiles.of(paths, attempt)) as held,
            ):
                if held is None:
                    return
                log, status = held
                await asyncio.to_thread(write_commands, paths, attempt, spec.startup_commands)
                files = sandboxes.files(paths)
                runner = ["setsid", "bash", "-p", f"{files}/install", f"{files}/{STARTUP}/{attempt}", str(LOG_BYTES)]
                null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    argv = [*entry.argv, *runner]
                    self._nursery.spawn(argv, stdin=null, stdout=log, stderr=status, pass_fds=entry.pass_fds)
                finally:
                    os.close(null)

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
