"""The terminal of a local environment: tmux, run inside; out here is only the other end of a pty."""

import asyncio

import structlog

from devpocket.domain.environments import EnvironmentSpec
from devpocket.domain.terminals import TerminalSize
from devpocket.errors import DevPocketError, UnavailableError
from devpocket.ids import EnvironmentId
from devpocket.runtime.errors import DriverError
from devpocket.runtime.local.environments import Environments
from devpocket.runtime.local.spawning import HOST_VARIABLES
from devpocket.runtime.port import ContainerState
from devpocket.runtime.pty_terminal import PtyTerminal
from devpocket.runtime.tmux import TmuxSession

log = structlog.get_logger(__name__)

ENSURE_S = 25.0
SAVE_S = 20.0
NOTHING_TO_SAVE = 3
"""The exit code of saving when there is no session."""


class Terminals:
    """Sends tmux's commands into environments."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments

    async def ensure(self, spec: EnvironmentSpec) -> None:
        """See the runtime port; UnavailableError when tmux does not start.

        Another try may succeed: what the start-up scripts left may have killed this one, or taken all processes.
        """
        argv = self._session(spec.environment_id).ensure_argv(sorted(spec.variables))
        result = await self._environments.run_inside(spec.environment_id, argv, deadline_s=ENSURE_S)
        if result.exit_code != 0:
            raise UnavailableError("The terminal could not be started.", detail=result.text[-1000:])

    async def attach(self, environment_id: EnvironmentId, size: TerminalSize | None) -> PtyTerminal:
        """See the runtime port. Cancelling leaves nothing."""
        session = self._session(environment_id)
        with self._environments.entering(environment_id) as entry:
            return await PtyTerminal.open(
                [*entry.argv, *session.attach_argv()],
                size,
                env=HOST_VARIABLES,
                pass_fds=entry.pass_fds,
                preface_argv=[*entry.argv, *session.history_argv()],
            )

    async def save(self, environment_id: EnvironmentId) -> None:
        """See the runtime port; DriverError when it could not be saved, nothing happens when there is no session."""
        argv = self._session(environment_id).save_argv()
        result = await self._environments.run_inside(environment_id, argv, deadline_s=SAVE_S)
        if result.exit_code not in (0, NOTHING_TO_SAVE):
            raise DriverError("The terminal could not be saved.", detail=result.text[-1000:])

    async def save_if_possible(self, environment_id: EnvironmentId) -> None:
        """Save before a stop; what cannot be saved must not keep an environment from being stopped."""
        if await asyncio.to_thread(self._environments.state, environment_id) is not ContainerState.RUNNING:
            return
        try:
            await self.save(environment_id)
        except DevPocketError as error:
            log.warning("local_terminal_not_saved", environment_id=environment_id, error=error.public)

    def _session(self, environment_id: EnvironmentId) -> TmuxSession:
        paths = self._environments.layout.of(environment_id)
        sandboxes = self._environments.sandboxes
        return TmuxSession(environment_id, home=sandboxes.home(paths), files=sandboxes.files(paths))
