"""What an environment is: what is wanted of it, what it is, and what it may use."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from devpocket.ids import EnvironmentId, TemplateId, UserId

CPU_PATTERN = re.compile(r"[0-9]{1,9}m?")
SIZE_PATTERN = re.compile(r"([0-9]{1,12})([GMK])(i?)")
_SIZE_POWERS = {"K": 1, "M": 2, "G": 3}


class EnvironmentPhase(StrEnum):
    """How far the environment is; finer than the status that the app parses."""

    REQUESTED = "requested"
    PROVISIONING = "provisioning"
    INSTALLING = "installing"
    CONFIGURING = "configuring"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"


class DesiredState(StrEnum):
    """What its user wants the environment to be."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


class EnvironmentStatus(StrEnum):
    """The closed set that the app parses; any other value makes its whole list fail."""

    CREATING = "creating"
    RUNNING = "running"
    STOPPED = "stopped"
    TERMINATED = "terminated"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What an environment may use, in Kubernetes' notation: ``500m`` of CPU, ``1Gi`` of memory and of storage.

    Raises ``ValueError`` for text that is not in that notation.
    """

    cpu: str
    memory: str
    storage: str
    max_instances: int = 1

    def __post_init__(self) -> None:
        if not CPU_PATTERN.fullmatch(self.cpu):
            raise ValueError(f"not an amount of CPU: {self.cpu!r}")
        for text in (self.memory, self.storage):
            if not SIZE_PATTERN.fullmatch(text):
                raise ValueError(f"not an amount of bytes: {text!r}")

    @property
    def cpu_millis(self) -> int:
        """Thousandths of a CPU."""
        return int(self.cpu[:-1]) if self.cpu.endswith("m") else int(self.cpu) * 1000

    @property
    def memory_bytes(self) -> int:
        """Memory in bytes."""
        return parse_size(self.memory)

    @property
    def storage_bytes(self) -> int:
        """Storage of the home in bytes."""
        return parse_size(self.storage)


def parse_size(text: str) -> int:
    """Return the bytes that ``10Gi`` (powers of 1024) or ``10G`` (powers of 1000) means; ``ValueError`` otherwise."""
    match = SIZE_PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"not an amount of bytes: {text!r}")
    amount, letter, binary = match.groups()
    return int(amount) * int((1024 if binary else 1000) ** _SIZE_POWERS[letter])


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment, as it is stored. Commands change what is wanted; whoever holds the lease drives the rest.

    ``boot`` counts the starts that were asked for and ``booted`` is the one the runtime has performed; a restart is
    nothing but a higher ``boot``. ``attempt`` and ``attempted`` do the same for the installation (recover asks for
    another), and ``revision`` and ``revised`` for the limits and variables that a running one is to get. ``generation``
    grows with every command. ``fence`` is that of the last owner that wrote. ``variables`` are what its processes get:
    those of its template under ``own_variables``, its user's; ``covered_variables`` has what these hide of the former.
    """

    id: EnvironmentId
    user_id: UserId
    name: str
    template_id: TemplateId
    template_name: str
    image: str
    limits: ResourceLimits
    created_at: datetime
    updated_at: datetime
    phase_since_at: datetime
    description: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    own_variables: Mapping[str, str] = field(default_factory=dict)
    covered_variables: Mapping[str, str] = field(default_factory=dict)
    startup_commands: tuple[str, ...] = ()
    port: int | None = None
    desired: DesiredState = DesiredState.RUNNING
    phase: EnvironmentPhase = EnvironmentPhase.REQUESTED
    message: str = ""
    generation: int = 1
    boot: int = 1
    booted: int = 0
    attempt: int = 1
    attempted: int = 0
    revision: int = 1
    revised: int = 1
    installation_completed: bool = False
    installation_error: str = ""
    restarts: int = 0
    retries: int = 0
    version: int = 1
    fence: int = 0
    last_accessed_at: datetime | None = None
    stop_reason: str = ""

    @property
    def status(self) -> EnvironmentStatus:
        """What the app is told: where the environment is bound for, as soon as that was asked for.

        The app never polls. It asks once after a command, so an accepted start has to read ``creating`` at once and
        an accepted stop ``stopped``, however far the driving is.
        """
        if self.desired is DesiredState.DELETED:
            return EnvironmentStatus.TERMINATED
        if self.phase is EnvironmentPhase.FAILED and self.is_settled:
            return EnvironmentStatus.ERROR
        if self.desired is DesiredState.STOPPED:
            return EnvironmentStatus.STOPPED
        if self.phase is EnvironmentPhase.RUNNING and self.is_settled:
            return EnvironmentStatus.RUNNING
        return EnvironmentStatus.CREATING

    @property
    def name_key(self) -> str:
        """The name as compared for uniqueness: Unicode-normalised, case-folded."""
        return name_key(self.name)

    @property
    def is_settled(self) -> bool:
        """True when what is equals what is wanted, so that nobody needs to drive it."""
        match self.desired, self.phase:
            case DesiredState.RUNNING, EnvironmentPhase.RUNNING:
                return self.boot == self.booted and self.attempt == self.attempted
            case DesiredState.RUNNING, EnvironmentPhase.FAILED:
                return self.boot == self.booted
            case (DesiredState.STOPPED, EnvironmentPhase.STOPPED) | (DesiredState.DELETED, EnvironmentPhase.DELETED):
                return True
        return False

    @property
    def is_outdated(self) -> bool:
        """True while a running one does not have the limits and variables that were asked for."""
        return self.phase is EnvironmentPhase.RUNNING and self.is_settled and self.revision != self.revised

    @property
    def needs_driving(self) -> bool:
        """True while there is something to do for its owner beyond looking after it."""
        return not self.is_settled or self.is_outdated

    def to_spec(self) -> "EnvironmentSpec":
        """Return what a runtime needs to know of it."""
        return EnvironmentSpec(
            environment_id=self.id,
            user_id=self.user_id,
            hostname=hostname(self.name, self.id),
            image=self.image,
            limits=self.limits,
            variables=dict(self.variables),
            startup_commands=self.startup_commands,
            port=self.port,
        )

    def with_own_variables(self, own: Mapping[str, str]) -> "Environment":
        """Return it with ``own`` in place of its user's variables; what those hid of its template shows again."""
        kept = {name: value for name, value in self.variables.items() if name not in self.own_variables}
        inherited = {**kept, **self.covered_variables}
        covered = {name: value for name, value in inherited.items() if name in own}
        return replace(self, variables={**inherited, **own}, own_variables=dict(own), covered_variables=covered)

    def with_phase(self, phase: EnvironmentPhase, now: datetime, message: str = "") -> "Environment":
        """Return it in ``phase`` since ``now``, with a sentence for its user."""
        return replace(self, phase=phase, phase_since_at=now, updated_at=now, message=message)


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """What a runtime is told: no user data beyond ids, no plan, no state."""

    environment_id: EnvironmentId
    user_id: UserId
    hostname: str
    image: str
    limits: ResourceLimits
    variables: Mapping[str, str]
    startup_commands: tuple[str, ...]
    port: int | None = None


def name_key(name: str) -> str:
    """Return ``name`` as compared for uniqueness among one user's live environments."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def hostname(name: str, environment_id: str) -> str:
    """Return a host name (RFC 1123 label) that is derived from a free-form name.

    Guarantees: 1 to 40 characters of ``a-z 0-9 -``; starts and ends with a letter or digit; never empty.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:40].strip("-")
    return slug or f"env-{environment_id[:8]}"
