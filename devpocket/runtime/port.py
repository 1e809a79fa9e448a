"""The runtime port: where environments live.

A runtime is a driver. Its ``ensure_*`` calls are idempotent, return facts, and know neither users nor plans; calling
one twice, from two processes, or after a crash in the middle is harmless. Expected failures are
:class:`~devpocket.runtime.errors.DriverError` (a sentence for the user of the environment), a runtime that does
not answer is :class:`devpocket.errors.UnavailableError`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from devpocket.domain.environments import EnvironmentSpec
from devpocket.domain.terminals import TerminalSize
from devpocket.ids import EnvironmentId


class ContainerState(StrEnum):
    """What a runtime sees of an environment."""

    ABSENT = "absent"
    """Neither a home nor a container."""
    STOPPED = "stopped"
    """The home is there, no process runs."""
    RUNNING = "running"


class InstallationState(StrEnum):
    """How far the start-up scripts of one attempt are."""

    ABSENT = "absent"
    """That attempt never began, or was cut off by a stop."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class InstallationProgress:
    """What the start-up scripts of one attempt have done so far."""

    state: InstallationState
    text: str = ""
    """Output from the asked offset on, at most 64 KiB, never splitting a character; invalid bytes are replaced."""
    offset: int = 0
    """Where the next read continues, in bytes of the log."""
    step: int = 0
    """Commands finished."""
    steps: int = 0
    """Commands in all."""
    failed_command: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Figures of the environment's own processes and home, measured, never estimated.

    Percentages are of the environment's own limits (100 = all it may use) and None where not known yet (a CPU
    percentage needs two readings, a large home some time).
    """

    measured_at: datetime
    cpu_percent: float | None
    memory_percent: float | None
    storage_percent: float | None
    memory_bytes: int
    storage_bytes: int | None
    processes: int
    network_received_bytes: int | None
    network_sent_bytes: int | None
    uptime_s: float | None


@dataclass(frozen=True, slots=True)
class RuntimeHealth:
    """What a runtime says of itself; shown by ``/api/v1/info`` and ``devpocket check``."""

    name: str
    version: str
    limits: Mapping[str, str] = field(default_factory=dict)
    """For each of cpu, memory, processes, storage: what holds it here (``cgroup``, ``rlimit``, ``watch``, ``none``)."""
    network: str = ""
    warnings: Sequence[str] = ()


class Terminal(Protocol):
    """One attached tmux client: the other end of its pty. Owned by whoever attached; close it."""

    async def read(self) -> bytes:
        """Return the next output, 1 byte to 64 KiB; ``b""`` when the client has ended. Cancelling loses nothing.

        The first reads give the history of the pane, then the live screen. Nothing is read from the environment
        while nobody awaits this, beyond one kernel buffer: not reading is what slows a flood down.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Type ``data``; returns once the pty has taken all of it. Raises ConnectionError when the client has ended."""
        ...

    async def resize(self, size: TerminalSize) -> None:
        """Set the size of this client; tmux follows the client that was used last."""
        ...

    async def close(self) -> None:
        """Detach: when it returns, the tmux client is gone. May be called again."""
        ...


class Runtime(Protocol):
    """A driver of environments."""

    async def start(self) -> None:
        """Get ready, or raise ConfigurationError with the reason and what to do."""
        ...

    async def close(self) -> None:
        """Let go of what this process holds. Environments go on running."""
        ...

    async def check(self) -> RuntimeHealth:
        """Return what it is and which limits hold; raises UnavailableError when it does not answer."""
        ...

    async def ensure_running(self, spec: EnvironmentSpec) -> None:
        """Make home and container exist and run; changed limits are applied to a running one."""
        ...

    async def ensure_terminal(self, spec: EnvironmentSpec) -> None:
        """Make the tmux session exist, restored from its saved state where there is one.

        Raises UnavailableError when it does not start, DriverError when the environment does not run.
        """
        ...

    async def ensure_installation(self, spec: EnvironmentSpec, attempt: int) -> None:
        """Begin the start-up scripts of ``attempt`` unless they run or have run; survives the end of this process."""
        ...

    async def installation(self, environment_id: EnvironmentId, attempt: int, offset: int) -> InstallationProgress:
        """Return the progress of ``attempt`` and its output from ``offset`` bytes on."""
        ...

    async def ensure_installation_ended(self, environment_id: EnvironmentId) -> None:
        """End the start-up scripts if they run."""
        ...

    async def ensure_stopped(self, environment_id: EnvironmentId) -> None:
        """Save the terminal's state and end every process; the home stays. True for an absent one, too."""
        ...

    async def ensure_deleted(self, environment_id: EnvironmentId) -> None:
        """End every process and remove everything, the home included."""
        ...

    async def observe(self, environment_id: EnvironmentId) -> ContainerState:
        """Return what is there now; cheap enough to be asked every few seconds."""
        ...

    async def list_environments(self) -> Sequence[EnvironmentId]:
        """Return the ids of all environments that this runtime keeps anything of."""
        ...

    async def attach(self, environment_id: EnvironmentId, size: TerminalSize | None) -> Terminal:
        """Attach one more tmux client, inside the environment; the session is made anew if it was killed.

        Without a ``size`` it takes that of the session as it is, which changes nothing for those who are there.
        Raises DriverError when the environment does not run.
        """
        ...

    async def save_terminal(self, environment_id: EnvironmentId) -> None:
        """Save windows, layout, working directories and scrollback under ``.tmux`` of the home."""
        ...

    async def usage(self, environment_id: EnvironmentId) -> Usage | None:
        """Return present figures, or None when it does not run."""
        ...
