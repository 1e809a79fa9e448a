"""What the local runtime is told: where it keeps things, how it encloses environments, and its deadlines."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class SandboxMode(StrEnum):
    """``LOCAL_SANDBOX``: what encloses an environment."""

    BUBBLEWRAP = "bubblewrap"
    NONE = "none"
    """Nothing: its processes see this machine. For trying things out where bubblewrap cannot run."""


class NetworkMode(StrEnum):
    """``LOCAL_NETWORK``: what an environment reaches."""

    AUTO = "auto"
    """Private where that works, else the host's, but only while the server listens on loopback."""
    PRIVATE = "private"
    """Its own network behind passt: the internet works, the host's loopback cannot be reached."""
    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LocalRuntimeSettings:
    """The settings of a :class:`~devpocket.runtime.local.driver.LocalRuntime`."""

    data_dir: Path
    host: str = "127.0.0.1"
    """The address that the server itself listens on; decides what ``auto`` may fall back to."""
    sandbox: SandboxMode = SandboxMode.BUBBLEWRAP
    network: NetworkMode = NetworkMode.AUTO
    uid_base: int | None = None
    """First of the host uids that environments run under when the server is root; None picks a free range."""
    hidden_paths: tuple[Path, ...] = field(default=())
    """Further paths of the server (its sources, its settings) that no environment may see."""
    processes: int = 1024
    """The most processes and threads of one environment."""
    files: int = 1_000_000
    """The most files and directories in one home."""
    watch_s: float = 2.0
    """Between two looks at storage and memory."""
    stop_grace_s: float = 2.0
    """What processes are given between being asked to end and being killed."""
    start_s: float = 15.0
    """The most that the start of one sandbox may take."""
