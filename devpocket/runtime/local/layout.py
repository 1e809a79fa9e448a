"""Where the local runtime keeps what, below ``DATA_DIR``.

environments/<id>/        0711 for root (its user passes through), 0700 otherwise
    record.json           what is known of it (see record.py)
    home/                 /home/devpocket; belongs to its user, and is hostile: never opened from out here
    etc/                  /etc/devpocket, read-only inside: system files, scripts, variables, startup/<attempt>/NNN
    logs/                 installation-<attempt>.log and .status, sandbox.log; not visible inside
trash/                    what is being removed
uids/                     one link per host uid in use, naming the environment
locks/                    one file per environment that is being changed
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from devpocket.ids import EnvironmentId, is_id
from devpocket.runtime.errors import DriverError


@dataclass(frozen=True, slots=True)
class EnvironmentPaths:
    """The paths of one environment, on the host."""

    root: Path

    @property
    def record(self) -> Path:
        """What is known of it."""
        return self.root / "record.json"

    @property
    def home(self) -> Path:
        """Its home."""
        return self.root / "home"

    @property
    def etc(self) -> Path:
        """What is ``/etc/devpocket`` inside."""
        return self.root / "etc"

    @property
    def logs(self) -> Path:
        """What the server alone reads."""
        return self.root / "logs"

    @property
    def sandbox_log(self) -> Path:
        """What bubblewrap and passt complained about at the last start."""
        return self.logs / "sandbox.log"


class Layout:
    """The folders of the local runtime below one ``DATA_DIR``."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.environments = self.data_dir / "environments"
        self.trash = self.data_dir / "trash"
        self.uids = self.data_dir / "uids"
        self.locks = self.data_dir / "locks"

    def create(self, *, walkable: bool = False) -> None:
        """Make the folders that every environment shares: for the server's user alone, or to be walked through by all.

        ``walkable`` is for environments without a sandbox, whose users have to get to their homes on the host's paths.
        """
        for path in (self.environments, self.trash, self.uids, self.locks):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.environments, self.trash):
            path.chmod(0o711 if walkable else 0o700)
        if walkable:
            self.data_dir.chmod(self.data_dir.stat().st_mode | 0o011)

    def of(self, environment_id: EnvironmentId) -> EnvironmentPaths:
        """Return the paths of an environment; raises DriverError for what is not an id (it becomes part of a path)."""
        if not is_id(environment_id):
            raise DriverError("There is no such environment.", detail=f"not an id: {environment_id!r}")
        return EnvironmentPaths(self.environments / environment_id)

    def create_environment(self, paths: EnvironmentPaths, uid: int) -> None:
        """Make the folders of an environment that runs under ``uid``; harmless when they are there."""
        is_root = os.geteuid() == 0
        paths.root.mkdir(mode=0o700, exist_ok=True)
        for path in (paths.logs, paths.etc, paths.home):
            path.mkdir(mode=0o700, exist_ok=True)
        # Its user has to pass through the root and to read etc; logs and the record stay the server's.
        paths.root.chmod(0o711 if is_root else 0o700)
        paths.etc.chmod(0o755 if is_root else 0o700)
        if is_root:
            os.chown(paths.home, uid, uid, follow_symlinks=False)

    def list_environments(self) -> list[EnvironmentId]:
        """Return the ids of all environments that anything is kept of, in order."""
        return sorted(EnvironmentId(path.name) for path in self.environments.iterdir() if is_id(path.name))

    def discard(self, paths: EnvironmentPaths) -> Path | None:
        """Move everything of an environment to the trash, in one step, and return where it is; None when it is gone."""
        target = self.trash / f"{paths.root.name}-{secrets.token_hex(4)}"
        try:
            return paths.root.rename(target)
        except FileNotFoundError:
            return None

    def discarded(self) -> list[Path]:
        """Return what lies in the trash, without what is only tried out there."""
        return sorted(path for path in self.trash.iterdir() if not is_id(path.name))

    def trials(self) -> list[EnvironmentPaths]:
        """Return the environments that are only tried out, or were when a process died (see preflight.py)."""
        return [EnvironmentPaths(path) for path in sorted(self.trash.iterdir()) if is_id(path.name)]
