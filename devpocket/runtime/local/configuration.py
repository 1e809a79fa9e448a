"""What the local runtime is told: where it keeps things, how it encloses environments, and its deadlines."""

from dataclasses import dataclass, field
from pathlib import Path

from devpocket.settings import LocalNetwork, LocalSandbox


@dataclass(frozen=True, slots=True)
class LocalRuntimeSettings:
    """The settings of a :class:`~devpocket.runtime.local.driver.LocalRuntime`."""

    data_dir: Path
    host: str = "127.0.0.1"
    """The address that the server itself listens on; decides what ``auto`` may fall back to."""
    sandbox: LocalSandbox = LocalSandbox.BUBBLEWRAP
    network: LocalNetwork = LocalNetwork.AUTO
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
