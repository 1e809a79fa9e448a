"""The life cycle of an environment: one pure function, one table.

``decide(environment, event, now)`` gives the environment as it is after the event and the instructions that whoever
drives it has to perform; their outcomes come back as events. Every pair of phase and event is in :data:`TABLE` or is
refused with :class:`InvalidTransitionError`. A driver performs one instruction at a time, drops outcomes of
instructions that it has given up, and writes the environment before it performs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from devpocket.domain.environments import DesiredState, Environment, EnvironmentPhase
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

MAXIMUM_RETRIES = 5
"""Failed tries in a row to bring a container up before the environment is called failed."""
MAXIMUM_RESTARTS = 3
"""Times a lost container is replaced by itself before the environment is called failed."""
STEADY_AFTER = timedelta(minutes=10)
"""A container that ran this long before it was lost starts the count of restarts anew."""
LONGEST_DELAY_S = 60.0


# --- events: what has happened -------------------------------------------------------------------------------------


class Event:
    """Something that happened to an environment."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DesiredChanged(Event):
    """A command may have changed what is wanted."""


@dataclass(frozen=True, slots=True)
class OwnershipTaken(Event):
    """A process has begun to drive it and does not know what the last one left undone."""


@dataclass(frozen=True, slots=True)
class RetryDue(Event):
    """The delay of a :class:`RetryLater` is over."""


@dataclass(frozen=True, slots=True)
class ContainerStarted(Event):
    """The container runs."""


@dataclass(frozen=True, slots=True)
class ContainerObserved(Event):
    """The runtime was asked whether the container runs."""

    running: bool


@dataclass(frozen=True, slots=True)
class ContainerUpdated(Event):
    """The running container has the limits and variables of ``revision``."""

    revision: int


@dataclass(frozen=True, slots=True)
class ContainerStopped(Event):
    """No process of it runs."""


@dataclass(frozen=True, slots=True)
class ContainerDeleted(Event):
    """Nothing of it is left."""


@dataclass(frozen=True, slots=True)
class InstallationSucceeded(Event):
    """Every start-up script ended well."""


@dataclass(frozen=True, slots=True)
class InstallationFailed(Event):
    """A start-up script failed; ``reason`` is a sentence for the user."""

    reason: str


@dataclass(frozen=True, slots=True)
class TerminalReady(Event):
    """The tmux session is there."""


@dataclass(frozen=True, slots=True)
class OperationFailed(Event):
    """The instruction that was under way could not be performed; ``transient`` says that another try may work."""

    reason: str
    transient: bool


@dataclass(frozen=True, slots=True)
class DeadlinePassed(Event):
    """It has been in its phase for longer than that phase may take."""


class InvalidTransitionError(Exception):
    """An event came that the phase has no answer to; carries the story."""

    def __init__(self, environment: Environment, event: Event) -> None:
        super().__init__(
            f"environment {environment.id}: {type(event).__name__} in phase {environment.phase} "
            f"(desired {environment.desired}, boot {environment.booted}/{environment.boot}, "
            f"attempt {environment.attempted}/{environment.attempt}, version {environment.version})"
        )
        self.environment = environment
        self.event = event


Decision = tuple[Environment, tuple[Instruction, ...]]
Rule = Callable[[Environment, Event, datetime], Decision]


def decide(environment: Environment, event: Event, now: datetime) -> Decision:
    """Return the environment after ``event`` and what is to be done, in order.

    Raises :class:`InvalidTransitionError` for a pair that the table does not hold.
    """
    rule = TABLE.get((environment.phase, type(event)))
    if rule is None:
        raise InvalidTransitionError(environment, event)
    return rule(environment, event, now)


def _stay(environment: Environment, _event: Event, _now: datetime) -> Decision:
    return environment, ()


def _follow_desire(environment: Environment, _event: Event, now: datetime) -> Decision:
    """Set out for what is wanted, from any phase but the last two."""
    phase, desired = environment.phase, environment.desired
    if desired is DesiredState.DELETED:
        return environment.with_phase(EnvironmentPhase.DELETING, now, "Being deleted."), (DeleteContainer(),)
    if phase is EnvironmentPhase.STOPPING or environment.is_settled:
        return environment, _update(environment)
    if desired is DesiredState.STOPPED:
        return _stop(environment, now)
    if phase in (EnvironmentPhase.REQUESTED, EnvironmentPhase.STOPPED):
        return _provision(environment, now)
    if environment.boot != environment.booted:
        return _stop(environment, now)
    return _install(environment, now) if phase is EnvironmentPhase.RUNNING else (environment, ())


def _resume(environment: Environment, event: Event, now: datetime) -> Decision:
    """Follow a change of mind first; else do again what the phase is about."""
    changed, instructions = _follow_desire(environment, event, now)
    if instructions:
        return changed, instructions
    again: Mapping[EnvironmentPhase, Instruction] = {
        EnvironmentPhase.PROVISIONING: EnsureContainer(),
        EnvironmentPhase.INSTALLING: EnsureInstallation(environment.attempt),
        EnvironmentPhase.CONFIGURING: EnsureTerminal(),
        EnvironmentPhase.RUNNING: ObserveContainer(),
        EnvironmentPhase.STOPPING: StopContainer(),
        EnvironmentPhase.STOPPED: ObserveContainer(),
        EnvironmentPhase.FAILED: StopContainer(),
    }
    return environment, (again[environment.phase],) if environment.phase in again else ()


def _provision(environment: Environment, now: datetime) -> Decision:
    environment = replace(environment, booted=environment.boot, revised=environment.revision, retries=0)
    return environment.with_phase(EnvironmentPhase.PROVISIONING, now, "Starting the container."), (EnsureContainer(),)


def _update(environment: Environment) -> tuple[Instruction, ...]:
    return (UpdateContainer(environment.revision),) if environment.is_outdated else ()


def _stop(environment: Environment, now: datetime) -> Decision:
    stopping = environment.with_phase(EnvironmentPhase.STOPPING, now, environment.stop_reason or "Stopping.")
    return stopping, (StopContainer(),)


def _install(environment: Environment, now: datetime) -> Decision:
    environment = replace(environment, installation_completed=False, installation_error="")
    installing = environment.with_phase(EnvironmentPhase.INSTALLING, now, "Running the start-up scripts.")
    return installing, (EnsureInstallation(environment.attempt),)


def _configure(environment: Environment, now: datetime) -> Decision:
    # The scripts may have used up all tries; the terminal, in which they are mended, has its own.
    ready_to_try = replace(environment, retries=0)
    configuring = ready_to_try.with_phase(EnvironmentPhase.CONFIGURING, now, "Preparing the terminal.")
    return configuring, (EnsureTerminal(),)


def _container_started(environment: Environment, _event: Event, now: datetime) -> Decision:
    if environment.attempt == environment.attempted:
        return _configure(environment, now)
    return _install(environment, now)


def _installed(environment: Environment, _event: Event, now: datetime) -> Decision:
    done = replace(environment, attempted=environment.attempt, installation_completed=True, installation_error="")
    return _configure(done, now)


def _not_installed(environment: Environment, event: Event, now: datetime) -> Decision:
    """The user is the one to mend it, so the environment goes on to run."""
    said = event.reason if isinstance(event, InstallationFailed | OperationFailed) else ""
    reason = said or "The start-up scripts took too long and were ended."
    done = replace(environment, attempted=environment.attempt, installation_completed=False, installation_error=reason)
    return _configure(done, now)


def _ready(environment: Environment, _event: Event, now: datetime) -> Decision:
    message = "Ready."
    if environment.installation_error:
        message = f"Ready, but the start-up scripts failed: {environment.installation_error}"
    ready = replace(environment, retries=0).with_phase(EnvironmentPhase.RUNNING, now, message)
    return ready, _update(ready)


def _observed(environment: Environment, event: Event, now: datetime) -> Decision:
    """Replace a container that was lost while it should have been there."""
    assert isinstance(event, ContainerObserved)  # noqa: S101 - the table pairs this rule with that event alone
    if event.running:
        return environment, ()
    steady = environment.phase is EnvironmentPhase.RUNNING and now - environment.phase_since_at >= STEADY_AFTER
    restarts = 1 if steady else environment.restarts + 1
    if restarts > MAXIMUM_RESTARTS:
        return _failed(environment, "The container ended again and again.", now), ()
    lost = replace(environment, restarts=restarts, revised=environment.revision)
    message = "The container ended; starting it again."
    return lost.with_phase(EnvironmentPhase.PROVISIONING, now, message), (EnsureContainer(),)


def _updated(environment: Environment, event: Event, _now: datetime) -> Decision:
    assert isinstance(event, ContainerUpdated)  # noqa: S101 - the table pairs this rule with that event alone
    return replace(environment, revised=event.revision), ()


def _stray(environment: Environment, event: Event, now: datetime) -> Decision:
    """A container runs though the environment is stopped."""
    assert isinstance(event, ContainerObserved)  # noqa: S101 - the table pairs this rule with that event alone
    return _stop(environment, now) if event.running else (environment, ())


def _stopped(environment: Environment, event: Event, now: datetime) -> Decision:
    message = environment.stop_reason or "Stopped."
    stopped = replace(environment, retries=0, restarts=0).with_phase(EnvironmentPhase.STOPPED, now, message)
    return _follow_desire(stopped, event, now)


def _deleted(environment: Environment, _event: Event, now: datetime) -> Decision:
    return environment.with_phase(EnvironmentPhase.DELETED, now, "Deleted."), (ForgetEnvironment(),)


def _failed(environment: Environment, reason: str, now: datetime) -> Environment:
    return environment.with_phase(EnvironmentPhase.FAILED, now, reason)


def _start_failed(environment: Environment, event: Event, now: datetime) -> Decision:
    assert isinstance(event, OperationFailed)  # noqa: S101 - the table pairs this rule with that event alone
    if event.transient and environment.retries < MAXIMUM_RETRIES:
        return _retry(environment, event, now)
    return _failed(environment, event.reason, now), (StopContainer(),)


def _installation_trouble(environment: Environment, event: Event, now: datetime) -> Decision:
    assert isinstance(event, OperationFailed)  # noqa: S101 - the table pairs this rule with that event alone
    if event.transient and environment.retries < MAXIMUM_RETRIES:
        return _retry(environment, event, now)
    return _not_installed(environment, event, now)


def _retry(environment: Environment, event: Event, now: datetime) -> Decision:
    """Try again, waiting twice as long each time: 1 s, 2 s, 4 s, at most a minute."""
    assert isinstance(event, OperationFailed)  # noqa: S101 - the table pairs this rule with that event alone
    delay_s = min(2.0 ** min(environment.retries, 10), LONGEST_DELAY_S)
    retried = replace(environment, retries=environment.retries + 1, message=event.reason, updated_at=now)
    return retried, (RetryLater(delay_s),)


def _watch_again(environment: Environment, _event: Event, _now: datetime) -> Decision:
    """Looking failed; nothing is known, so nothing changes."""
    return environment, (RetryLater(5.0),)


def _start_overdue(environment: Environment, _event: Event, now: datetime) -> Decision:
    return _failed(environment, "Starting took too long.", now), (StopContainer(),)


_REACHING = (EnvironmentPhase.PROVISIONING, EnvironmentPhase.INSTALLING, EnvironmentPhase.CONFIGURING)
_ENDING = (EnvironmentPhase.STOPPING, EnvironmentPhase.DELETING)


def _table() -> dict[tuple[EnvironmentPhase, type[Event]], Rule]:
    phase = EnvironmentPhase
    table: dict[tuple[EnvironmentPhase, type[Event]], Rule] = {}
    for each in phase:
        ended = each in (phase.DELETING, phase.DELETED)
        table[each, DesiredChanged] = _stay if ended else _follow_desire
        table[each, OwnershipTaken] = table[each, RetryDue] = _stay if ended else _resume
    for event in (OwnershipTaken, RetryDue):
        table[phase.DELETING, event] = lambda environment, _event, _now: (environment, (DeleteContainer(),))
        table[phase.DELETED, event] = lambda environment, _event, _now: (environment, (ForgetEnvironment(),))
    for each in (*_REACHING, phase.RUNNING):
        table[each, ContainerObserved] = _observed
    for each in _ENDING:
        table[each, OperationFailed] = _retry
        table[each, DeadlinePassed] = _resume if each is phase.STOPPING else table[each, RetryDue]
    table |= {
        (phase.PROVISIONING, ContainerStarted): _container_started,
        (phase.PROVISIONING, OperationFailed): _start_failed,
        (phase.PROVISIONING, DeadlinePassed): _start_overdue,
        (phase.INSTALLING, InstallationSucceeded): _installed,
        (phase.INSTALLING, InstallationFailed): _not_installed,
        (phase.INSTALLING, OperationFailed): _installation_trouble,
        (phase.INSTALLING, DeadlinePassed): _not_installed,
        (phase.CONFIGURING, TerminalReady): _ready,
        (phase.CONFIGURING, OperationFailed): _start_failed,
        (phase.CONFIGURING, DeadlinePassed): _start_overdue,
        (phase.RUNNING, ContainerUpdated): _updated,
        (phase.RUNNING, OperationFailed): _watch_again,
        (phase.STOPPING, ContainerStopped): _stopped,
        (phase.STOPPED, ContainerObserved): _stray,
        (phase.STOPPED, OperationFailed): _watch_again,
        (phase.FAILED, ContainerStopped): _stay,
        (phase.FAILED, OperationFailed): _stay,
        (phase.DELETING, ContainerDeleted): _deleted,
        (phase.DELETED, OperationFailed): _retry,
    }
    return table


TABLE: Mapping[tuple[EnvironmentPhase, type[Event]], Rule] = _table()
EVENTS: tuple[type[Event], ...] = tuple(dict.fromkeys(event for _, event in TABLE))
