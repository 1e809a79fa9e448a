"""The life cycle: every pair of phase and event, whole stories, and what may never happen."""

import itertools
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from devpocket.domain import commands
from devpocket.domain.environments import (
    DesiredState,
    Environment,
    EnvironmentPhase,
    EnvironmentStatus,
    ResourceLimits,
)
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
    EVENTS,
    MAXIMUM_RESTARTS,
    MAXIMUM_RETRIES,
    TABLE,
    ContainerDeleted,
    ContainerObserved,
    ContainerStarted,
    ContainerStopped,
    ContainerUpdated,
    DeadlinePassed,
    DesiredChanged,
    Event,
    InstallationFailed,
    InstallationSucceeded,
    InvalidTransitionError,
    OperationFailed,
    OwnershipTaken,
    RetryDue,
    TerminalReady,
    decide,
)
from devpocket.errors import InvalidStateError, NotFoundError
from devpocket.ids import EnvironmentId, TemplateId, UserId

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Phase = EnvironmentPhase

_EXAMPLES: dict[type[Event], Event] = {
    ContainerObserved: ContainerObserved(running=True),
    ContainerUpdated: ContainerUpdated(revision=1),
    InstallationFailed: InstallationFailed("no"),
    OperationFailed: OperationFailed("no", transient=False),
}


def an_environment(**changes) -> Environment:
    environment = Environment(
        id=EnvironmentId("e" * 24),
        user_id=UserId("u" * 24),
        name="My Awesome Project",
        template_id=TemplateId("t" * 24),
        template_name="ubuntu",
        image="ubuntu:22.04",
        limits=ResourceLimits("500m", "1Gi", "5Gi"),
        startup_commands=("true",),
        created_at=NOW,
        updated_at=NOW,
        phase_since_at=NOW,
    )
    return replace(environment, **changes)


def follow(environment: Environment, *events: Event) -> tuple[Environment, tuple[Instruction, ...]]:
    instructions: tuple[Instruction, ...] = ()
    for event in events:
        environment, instructions = decide(environment, event, NOW)
    return environment, instructions


RUNNING = follow(an_environment(), DesiredChanged(), ContainerStarted(), InstallationSucceeded(), TerminalReady())[0]


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(Phase, EVENTS)))
def test_every_pair_is_decided_or_refused(phase, event):
    environment = an_environment(phase=phase, booted=1)
    example = _EXAMPLES.get(event) or event()
    if (phase, event) in TABLE:
        after, instructions = decide(environment, example, NOW)
        assert len(instructions) <= 1
        assert after.phase is not phase or after.phase_since_at == environment.phase_since_at
    else:
        with pytest.raises(InvalidTransitionError, match=f"{event.__name__} in phase {phase}"):
            decide(environment, example, NOW)


def test_every_phase_hears_what_is_wanted_and_who_owns():
    for phase in Phase:
        assert {(phase, DesiredChanged), (phase, OwnershipTaken), (phase, RetryDue)} <= TABLE.keys()


def test_from_requested_to_running():
    environment = an_environment()
    story = [
        (DesiredChanged(), Phase.PROVISIONING, EnsureContainer()),
        (ContainerStarted(), Phase.INSTALLING, EnsureInstallation(1)),
        (InstallationSucceeded(), Phase.CONFIGURING, EnsureTerminal()),
    ]
    for event, phase, instruction in story:
        environment, instructions = decide(environment, event, NOW)
        assert (environment.phase, instructions) == (phase, (instruction,))
        assert environment.status is EnvironmentStatus.CREATING
    environment, instructions = decide(environment, TerminalReady(), NOW)
    assert (environment.phase, instructions) == (Phase.RUNNING, ())
    assert environment.is_settled
    assert environment.installation_completed
    assert environment.status is EnvironmentStatus.RUNNING


def test_a_failed_script_leaves_a_running_environment_that_can_be_recovered():
    failed, _ = follow(
        an_environment(), DesiredChanged(), ContainerStarted(), InstallationFailed("«false» ended"), TerminalReady()
    )
    assert failed.status is EnvironmentStatus.RUNNING
    assert not failed.installation_completed
    assert "«false» ended" in failed.message
    again = commands.recover(failed, NOW)
    assert again.status is EnvironmentStatus.CREATING
    again, instructions = follow(again, DesiredChanged())
    assert instructions == (EnsureInstallation(2),)
    mended, _ = follow(again, InstallationSucceeded(), TerminalReady())
    assert mended.installation_completed
    assert mended.message == "Ready."


def test_scripts_run_once():
    stopped, _ = follow(commands.stop(RUNNING, NOW), DesiredChanged(), ContainerStopped())
    _, instructions = follow(commands.start(stopped, NOW), DesiredChanged(), ContainerStarted())
    assert instructions == (EnsureTerminal(),)


@pytest.mark.parametrize(
    "events",
    [(), (DesiredChanged(),), (DesiredChanged(), ContainerStarted()), (DesiredChanged(), OperationFailed("x", True))],
)
def test_delete_and_stop_are_followed_at_once_in_the_middle_of_a_creation(events):
    environment, _ = follow(an_environment(), *events)
    assert follow(commands.delete(environment, NOW), DesiredChanged())[1] == (DeleteContainer(),)
    assert follow(commands.stop(environment, NOW), DesiredChanged())[1] == (StopContainer(),)


def test_a_restart_stops_and_starts():
    restarting = commands.restart(RUNNING, NOW)
    assert restarting.status is EnvironmentStatus.CREATING
    stopping, instructions = follow(restarting, DesiredChanged())
    assert (stopping.phase, instructions) == (Phase.STOPPING, (StopContainer(),))
    starting, instructions = follow(stopping, ContainerStopped())
    assert (starting.phase, instructions) == (Phase.PROVISIONING, (EnsureContainer(),))
    assert starting.booted == starting.boot == 2


def test_other_limits_reach_a_running_container_and_a_newer_change_is_not_taken_for_done():
    wider = replace(RUNNING, revision=2)
    assert wider.is_settled
    assert wider.needs_driving
    for event in (DesiredChanged(), OwnershipTaken(), RetryDue()):
        assert follow(wider, event) == (wider, (UpdateContainer(2),))
    assert follow(replace(wider, revision=3), ContainerUpdated(2))[0].needs_driving
    assert not follow(wider, ContainerUpdated(2))[0].needs_driving


def test_other_limits_that_come_during_a_start_are_given_after_it():
    starting, _ = follow(an_environment(), DesiredChanged(), ContainerStarted(), InstallationSucceeded())
    ready, instructions = follow(replace(starting, revision=2), TerminalReady())
    assert (ready.phase, instructions) == (Phase.RUNNING, (UpdateContainer(2),))


def test_a_container_that_starts_has_the_limits_of_that_moment():
    stopped, _ = follow(commands.stop(RUNNING, NOW), DesiredChanged(), ContainerStopped())
    wider = replace(stopped, revision=2)
    assert not wider.needs_driving
    started, instructions = follow(commands.start(wider, NOW), DesiredChanged(), ContainerStarted(), TerminalReady())
    assert (started.needs_driving, instructions) == (False, ())


def test_a_start_during_a_stop_starts_afterwards():
    stopping, _ = follow(commands.stop(RUNNING, NOW), DesiredChanged())
    again, instructions = follow(commands.start(stopping, NOW), DesiredChanged())
    assert (again.phase, instructions) == (Phase.STOPPING, ())
    assert follow(again, ContainerStopped())[1] == (EnsureContainer(),)


def test_deleting_ends_in_forgetting():
    deleting, _ = follow(commands.delete(RUNNING, NOW), DesiredChanged())
    assert deleting.status is EnvironmentStatus.TERMINATED
    deleted, instructions = follow(deleting, ContainerDeleted())
    assert (deleted.phase, instructions) == (Phase.DELETED, (ForgetEnvironment(),))
    with pytest.raises(NotFoundError):
        commands.start(deleted, NOW)


def test_a_lost_container_is_replaced_a_few_times():
    environment = RUNNING
    for _ in range(MAXIMUM_RESTARTS):
        environment, instructions = decide(environment, ContainerObserved(running=False), NOW)
        assert instructions == (EnsureContainer(),)
        environment, _ = follow(environment, ContainerStarted(), TerminalReady())
    environment, _ = decide(environment, ContainerObserved(running=False), NOW)
    assert environment.status is EnvironmentStatus.ERROR
    assert environment.is_settled


def test_a_container_that_ran_for_long_is_replaced_for_ever():
    environment, later = RUNNING, NOW
    for _ in range(3 * MAXIMUM_RESTARTS):
        later += timedelta(hours=1)
        environment, _ = decide(environment, ContainerObserved(running=False), later)
        environment, _ = decide(environment, ContainerStarted(), later)
        environment, _ = decide(environment, TerminalReady(), later)
    assert environment.phase is Phase.RUNNING


def test_transient_trouble_is_tried_again_ever_later_and_then_given_up():
    environment, _ = follow(an_environment(), DesiredChanged())
    delays = []
    for _ in range(MAXIMUM_RETRIES):
        environment, (instruction,) = decide(environment, OperationFailed("away", transient=True), NOW)
        assert isinstance(instruction, RetryLater)
        delays.append(instruction.delay_s)
        environment, instructions = decide(environment, RetryDue(), NOW)
        assert instructions == (EnsureContainer(),)
    assert delays == [1, 2, 4, 8, 16]
    environment, instructions = decide(environment, OperationFailed("away", transient=True), NOW)
    assert (environment.status, instructions) == (EnvironmentStatus.ERROR, (StopContainer(),))
    assert environment.message == "away"


def test_the_terminal_has_tries_of_its_own_after_scripts_that_used_up_theirs():
    environment, _ = follow(an_environment(), DesiredChanged(), ContainerStarted())
    interrupted = OperationFailed("interrupted", transient=True)
    for _ in range(MAXIMUM_RETRIES):
        environment, _ = follow(environment, interrupted, RetryDue())
    environment, instructions = decide(environment, interrupted, NOW)
    assert instructions == (EnsureTerminal(),)
    environment, (instruction,) = decide(environment, OperationFailed("killed", transient=True), NOW)
    assert isinstance(instruction, RetryLater)
    environment, _ = follow(environment, RetryDue(), TerminalReady())
    assert environment.phase is Phase.RUNNING


def test_a_delete_is_tried_for_ever():
    deleting, _ = follow(commands.delete(RUNNING, NOW), DesiredChanged())
    for _ in range(50):
        deleting, (instruction,) = decide(deleting, OperationFailed("away", transient=True), NOW)
        assert isinstance(instruction, RetryLater)
        assert instruction.delay_s <= 60
        deleting, instructions = decide(deleting, RetryDue(), NOW)
        assert instructions == (DeleteContainer(),)


def test_scripts_beyond_their_time_are_a_failure_of_the_scripts():
    installing, _ = follow(an_environment(), DesiredChanged(), ContainerStarted())
    configuring, instructions = decide(installing, DeadlinePassed(), NOW)
    assert instructions == (EnsureTerminal(),)
    assert "too long" in configuring.installation_error


@pytest.mark.parametrize(
    ("phase", "instruction"),
    [
        (Phase.PROVISIONING, EnsureContainer()),
        (Phase.INSTALLING, EnsureInstallation(1)),
        (Phase.CONFIGURING, EnsureTerminal()),
        (Phase.RUNNING, ObserveContainer()),
    ],
)
def test_a_new_owner_does_again_what_the_phase_is_about(phase, instruction):
    attempted = 1 if phase in (Phase.CONFIGURING, Phase.RUNNING) else 0
    environment = an_environment(phase=phase, booted=1, attempted=attempted)
    assert decide(environment, OwnershipTaken(), NOW)[1] == (instruction,)


def test_commands_that_do_not_fit_are_refused():
    stopped, _ = follow(commands.stop(RUNNING, NOW), DesiredChanged(), ContainerStopped())
    for command, environment in (
        (commands.start, RUNNING),
        (commands.stop, stopped),
        (commands.recover, RUNNING),
        (commands.recover, stopped),
        (commands.restart, an_environment()),
    ):
        with pytest.raises(InvalidStateError):
            command(environment, NOW)


@pytest.mark.parametrize("seed", range(200))
def test_whatever_is_commanded_it_ends_settled_when_the_runtime_obeys(seed):
    """Random commands between the outcomes of an obedient runtime; at the end what is must equal what is wanted."""
    chance = random.Random(seed)
    environment, instructions = follow(an_environment(), DesiredChanged())
    outcomes: dict[type[Instruction], Event] = {
        EnsureContainer: ContainerStarted(),
        EnsureInstallation: InstallationSucceeded(),
        EnsureTerminal: TerminalReady(),
        StopContainer: ContainerStopped(),
        DeleteContainer: ContainerDeleted(),
        RetryLater: RetryDue(),
        ObserveContainer: ContainerObserved(running=True),
    }
    pending = instructions
    for step in range(60):
        if step < 40 and chance.random() < 0.4:
            command = chance.choice([commands.start, commands.stop, commands.restart, commands.recover])
            try:
                environment = command(environment, NOW)
            except InvalidStateError:
                continue
            environment, instructions = decide(environment, DesiredChanged(), NOW)
            pending = instructions or pending
        elif pending:
            event = outcomes[type(pending[0])]
            if step < 40 and chance.random() < 0.2:
                event = OperationFailed("trouble", transient=True)
            environment, pending = decide(environment, event, NOW)
    assert environment.is_settled
    assert environment.desired is not DesiredState.DELETED
