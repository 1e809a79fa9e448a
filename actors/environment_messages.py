"""What an environment's actor is told by its own process: by itself, the supervisor, the sweeps and the bus."""

from dataclasses import dataclass
from datetime import datetime

from actors.dispatch import Message
from devpocket.domain.events import EnvironmentEvent
from devpocket.domain.lifecycle import Event


@dataclass(frozen=True, slots=True)
class DriveEnvironment(Message[None]):
    """Take the environment over if nobody holds it, and go on with whatever is to be done."""

    is_abandoned: bool = False
    """Its owner died, perhaps with the last instruction undone: look even at one that is where it should be."""


@dataclass(frozen=True, slots=True)
class EndPhase(Message[None]):
    """The phase that began at ``since_at`` has lasted too long, and its owner, if it is this one, did not see it."""

    since_at: datetime


@dataclass(frozen=True, slots=True)
class EventArrived(Message[None]):
    """Some process, perhaps this one, has announced something."""

    event: EnvironmentEvent


@dataclass(frozen=True, slots=True)
class OperationEnded(Message[None]):
    """The instruction with this serial number has come to its end; None: the environment is forgotten."""

    serial: int
    event: Event | None


@dataclass(frozen=True, slots=True)
class LeaseLost(Message[None]):
    """Another process drives now, or nobody can."""


@dataclass(frozen=True, slots=True)
class SomebodyWatches(Message[None]):
    """Somebody looks at it through some process: its owner takes samples more often for a while."""

    keeps_awake = False


@dataclass(frozen=True, slots=True)
class Tick(Message[None]):
    """Look around."""

    keeps_awake = False
