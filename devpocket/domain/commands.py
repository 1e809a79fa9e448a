"""What a user may ask of an environment: each command changes what is wanted, or is refused with a sentence."""

from dataclasses import replace
from datetime import datetime

from devpocket.domain.environments import DesiredState, Environment, EnvironmentPhase
from devpocket.errors import InvalidStateError, NotFoundError


def start(environment: Environment, now: datetime) -> Environment:
    """Ask a stopped environment to run."""
    _refuse_deleted(environment)
    if environment.desired is not DesiredState.STOPPED:
        raise InvalidStateError("Only a stopped environment can be started.")
    return _boot(environment, now, "Starting.")


def stop(environment: Environment, now: datetime, reason: str = "") -> Environment:
    """Ask an environment that runs, or is on its way to, to stop; ``reason`` is a sentence shown for it."""
    _refuse_deleted(environment)
    if environment.desired is not DesiredState.RUNNING:
        raise InvalidStateError("Only a running environment can be stopped.")
    stopped = replace(environment, desired=DesiredState.STOPPED, stop_reason=reason)
    return _commanded(stopped, now, reason or "Stopping.")


def restart(environment: Environment, now: datetime) -> Environment:
    """Ask a running, stopped or failed environment for a fresh container on the same home."""
    _refuse_deleted(environment)
    if environment.desired is DesiredState.RUNNING and environment.phase not in (
        EnvironmentPhase.RUNNING,
        EnvironmentPhase.FAILED,
    ):
        raise InvalidStateError("The environment is being started already.")
    return _boot(environment, now, "Restarting.")


def recover(environment: Environment, now: datetime) -> Environment:
    """Ask for another run of the start-up scripts, and for a fresh container where it has failed."""
    _refuse_deleted(environment)
    failed = environment.phase is EnvironmentPhase.FAILED
    unfinished = environment.phase is EnvironmentPhase.RUNNING and not environment.installation_completed
    if not (failed or unfinished) or environment.desired is not DesiredState.RUNNING:
        raise InvalidStateError("There is nothing to recover: the environment has not failed.")
    if not environment.installation_completed:
        environment = replace(environment, attempt=environment.attempt + 1)
    message = "Recovering."
    return _boot(environment, now, message) if failed else _commanded(environment, now, message)


def delete(environment: Environment, now: datetime) -> Environment:
    """Ask for it to be gone, in whatever phase it is."""
    _refuse_deleted(environment)
    return _commanded(replace(environment, desired=DesiredState.DELETED), now, "Being deleted.")


def _boot(environment: Environment, now: datetime, message: str) -> Environment:
    booted = replace(environment, desired=DesiredState.RUNNING, boot=environment.boot + 1, restarts=0, stop_reason="")
    return _commanded(booted, now, message)


def _commanded(environment: Environment, now: datetime, message: str) -> Environment:
    return replace(environment, generation=environment.generation + 1, updated_at=now, message=message)


def _refuse_deleted(environment: Environment) -> None:
    if environment.desired is DesiredState.DELETED:
        raise NotFoundError("There is no such environment.")
