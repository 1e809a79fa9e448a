"""Performs the instructions of the life cycle: one instruction in, one event out. Cancelling is safe at any point."""

import asyncio
import logging
import math
from datetime import timedelta

from actors.journal import Journal
from actors.ports import Ports
from actors.slots import Slots
from devpocket.domain.environments import Environment, EnvironmentPhase
from devpocket.domain.instructions import (
    DeleteContainer,
    EnsureContainer,
    EnsureInstallation,
    EnsureTerminal,
    ForgetEnvironment,
    Instruction,
    ObserveContainer,
    RetryLater,
    StopContainer,
    UpdateContainer,
)
from devpocket.domain.lifecycle import (
    ContainerDeleted,
    ContainerObserved,
    ContainerStarted,
    ContainerStopped,
    ContainerUpdated,
    DeadlinePassed,
    Event,
    InstallationFailed,
    InstallationSucceeded,
    OperationFailed,
    RetryDue,
    TerminalReady,
)
from devpocket.errors import DevPocketError, UnavailableError
from devpocket.runtime.port import ContainerState, InstallationProgress, InstallationState
from devpocket.settings import RuntimeSettings
from devpocket.store.port import Lease

FASTEST_POLL_S = 0.02
SLOWEST_POLL_S = 0.5
LONGEST_DELETION_S = 600.0

_LOG = logging.getLogger(__name__)
_DEADLINES = (EnvironmentPhase.PROVISIONING, EnvironmentPhase.INSTALLING, EnvironmentPhase.CONFIGURING)


class Driving:
    """The hands of an environment's actor."""

    def __init__(self, ports: Ports, journal: Journal) -> None:
        self._ports = ports
        self._runtime = ports.runtime
        self._journal = journal
        self._slots = Slots(ports)

    async def perform(self, environment: Environment, instruction: Instruction, lease: Lease) -> Event | None:
        """Do what ``instruction`` says and return what has happened; None when the environment is forgotten."""
        if isinstance(instruction, RetryLater):
            await asyncio.sleep(instruction.delay_s)
            return RetryDue()
        try:
            async with asyncio.timeout(self._remaining_s(environment, instruction)):
                with self._ports.metrics.driver_call(type(instruction).__name__):
                    return await self._carry_out(environment, instruction, lease)
        except TimeoutError:
            if environment.phase in (*_DEADLINES, EnvironmentPhase.STOPPING, EnvironmentPhase.DELETING):
                return DeadlinePassed()
            return OperationFailed("The runtime does not answer.", transient=True)
        except UnavailableError as error:
            _LOG.info("environment %s: %s: %s", environment.id, type(instruction).__name__, error.detail or error)
            return OperationFailed(error.public, transient=True)
        except DevPocketError as error:
            _LOG.warning("environment %s: %s: %s", environment.id, type(instruction).__name__, error.detail or error)
            return OperationFailed(error.public, transient=False)
        except Exception:
            _LOG.exception("environment %s: %s failed", environment.id, type(instruction).__name__)
            return OperationFailed("Something went wrong on the server.", transient=True)

    def _remaining_s(self, environment: Environment, instruction: Instruction) -> float:
        if isinstance(instruction, DeleteContainer | ForgetEnvironment):
            return LONGEST_DELETION_S
        settings = self._ports.settings.runtime
        if environment.phase not in _DEADLINES:
            return settings.start_timeout_s
        until = environment.phase_since_at + timedelta(seconds=phase_limit_s(environment.phase, settings))
        return max((until - self._ports.clock.now()).total_seconds(), 1.0)

    async def _carry_out(self, environment: Environment, instruction: Instruction, lease: Lease) -> Event | None:
        match instruction:
            case EnsureContainer():
                await self._runtime.ensure_running(environment.to_spec())
                return ContainerStarted()
            case EnsureInstallation():
                return await self._install(environment, instruction.attempt)
            case EnsureTerminal():
                await self._runtime.ensure_installation_ended(environment.id)
                await self._runtime.ensure_terminal(environment.to_spec())
                return TerminalReady()
            case ObserveContainer():
                return await self._observe(environment)
            case UpdateContainer():
                return await self._update(environment, instruction.revision)
            case StopContainer():
                await self._runtime.ensure_stopped(environment.id)
                return ContainerStopped()
            case DeleteContainer():
                await self._runtime.ensure_deleted(environment.id)
                return ContainerDeleted()
            case ForgetEnvironment():
                await self._forget(environment, lease)
                return None
        raise TypeError(f"no such instruction: {instruction!r}")

    async def _observe(self, environment: Environment) -> Event:
        state = await self._runtime.observe(environment.id)
        return ContainerObserved(state is ContainerState.RUNNING)

    async def _update(self, environment: Environment, revision: int) -> Event:
        """Change the container that runs; one that is lost is replaced as any lost one is."""
        if await self._runtime.observe(environment.id) is not ContainerState.RUNNING:
            return ContainerObserved(False)
        await self._runtime.ensure_running(environment.to_spec())
        await self._runtime.ensure_terminal(environment.to_spec())
        return ContainerUpdated(revision)

    async def _install(self, environment: Environment, attempt: int) -> Event:
        """Begin the attempt, or join one that another process began, and follow it to its end."""
        await self._runtime.ensure_installation(environment.to_spec(), attempt)
        offset, pause_s = 0, FASTEST_POLL_S
        while True:
            progress = await self._runtime.installation(environment.id, attempt, offset)
            if progress.text:
                await self._journal.installation_output(environment, offset, progress.text)
                offset, pause_s = progress.offset, FASTEST_POLL_S
                continue
            if progress.state is not InstallationState.RUNNING:
                return await self._installed(environment, progress)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, SLOWEST_POLL_S)

    async def _installed(self, environment: Environment, progress: InstallationProgress) -> Event:
        if progress.state is InstallationState.SUCCEEDED:
            await self._journal.installation_ended(environment, "INFO", "The start-up scripts have ended well.")
            return InstallationSucceeded()
        if progress.state is InstallationState.ABSENT:
            observed = await self._runtime.observe(environment.id)
            if observed is not ContainerState.RUNNING:
                return ContainerObserved(False)
            return OperationFailed("The start-up scripts were interrupted.", transient=True)
        command = " ".join(progress.failed_command.split())[:200]
        reason = f"«{command}» ended with exit code {progress.exit_code}."
        await self._journal.installation_ended(environment, "ERROR", reason)
        return InstallationFailed(reason)

    async def _forget(self, environment: Environment, lease: Lease) -> None:
        """Remove what the store holds of it; the environment itself last, so that a crash leaves a reason to go on."""
        store = self._ports.store
        await store.logs.delete_by("environment_at", environment.id)
        await store.metrics.delete_by("environment_at", environment.id)
        await store.terminal_sessions.delete_by("environment", environment.id)
        await self._slots.give_back(environment)
        await store.environments.delete(environment.id)
        await store.forget_lease(lease)


def phase_limit_s(phase: EnvironmentPhase, settings: RuntimeSettings) -> float:
    """Return how long an environment may be in ``phase``, in seconds; infinity where it may rest."""
    match phase:
        case EnvironmentPhase.INSTALLING:
            return settings.installation_timeout_s
        case EnvironmentPhase.PROVISIONING | EnvironmentPhase.CONFIGURING | EnvironmentPhase.STOPPING:
            return settings.start_timeout_s
        case EnvironmentPhase.DELETING:
            return LONGEST_DELETION_S
    return math.inf
