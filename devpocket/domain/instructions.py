"""What the driver of an environment is told to do; each says with which event of the life cycle it ends."""

from dataclasses import dataclass


class Instruction:
    """Something that the driver of an environment has to do."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class EnsureContainer(Instruction):
    """Make it run; ends in ContainerStarted."""


@dataclass(frozen=True, slots=True)
class EnsureInstallation(Instruction):
    """Run the start-up scripts; ends in InstallationSucceeded, InstallationFailed or ContainerObserved(False)."""

    attempt: int


@dataclass(frozen=True, slots=True)
class EnsureTerminal(Instruction):
    """Make the tmux session; ends in TerminalReady. Start-up scripts that still run are ended first."""


@dataclass(frozen=True, slots=True)
class ObserveContainer(Instruction):
    """Look whether it runs; ends in ContainerObserved."""


@dataclass(frozen=True, slots=True)
class UpdateContainer(Instruction):
    """Give the running container changed limits and variables; ends in ContainerUpdated."""

    revision: int


@dataclass(frozen=True, slots=True)
class StopContainer(Instruction):
    """Save its terminal and end it; ends in ContainerStopped."""


@dataclass(frozen=True, slots=True)
class DeleteContainer(Instruction):
    """Remove everything of it; ends in ContainerDeleted."""


@dataclass(frozen=True, slots=True)
class ForgetEnvironment(Instruction):
    """Remove its documents and free its slot. The last instruction of all."""


@dataclass(frozen=True, slots=True)
class RetryLater(Instruction):
    """Come back with RetryDue."""

    delay_s: float
