"""What is known of an environment on disk, so that another process, or this one after a crash, finds it again."""

import json
import os
from collections.abc import Set
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from devpocket.domain.environments import ResourceLimits
from devpocket.runtime.local.identity import ProcessIdentity

VERSION = 1


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    """A sandbox that was started; whether it still runs is for its init process to say."""

    init: ProcessIdentity
    network: str
    started_at: datetime
    passt: ProcessIdentity | None = None
    """The process that carries its private network."""
    groups: tuple[str, ...] = ()
    """The folders of its control groups."""


@dataclass(frozen=True, slots=True)
class EnvironmentRecord:
    """What the runtime keeps of one environment."""

    uid: int
    """The host uid that it runs under."""
    hostname: str
    limits: ResourceLimits
    sandbox: SandboxRecord | None = None


def read_record(path: Path) -> EnvironmentRecord | None:
    """Return what was written, or None when there is nothing, or nothing that can be read."""
    try:
        document = json.loads(path.read_bytes())
        return _decode(document) if document["version"] == VERSION else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Records:
    """The records of all environments, read again only when they were written again."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[int, EnvironmentRecord | None]] = {}

    def get(self, path: Path) -> EnvironmentRecord | None:
        """Return what :func:`read_record` returns. Blocks briefly."""
        try:
            # Each write makes a new file.
            stamp = path.stat().st_ino ^ path.stat().st_mtime_ns
        except OSError:
            self._read.pop(path, None)
            return None
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = self._read[path] = (stamp, read_record(path))
        return known[1]

    def forget(self, path: Path) -> None:
        """Forget a record that was removed."""
        self._read.pop(path, None)

    def forget_others(self, paths: Set[Path]) -> None:
        """Forget all records but these: another process may have removed some."""
        for path in set(self._read) - paths:
            self.forget(path)


def write_record(path: Path, record: EnvironmentRecord) -> None:
    """Replace what was written, in one step: a reader and a crash see the old or the new, never a part."""
    document = asdict(record)
    if record.sandbox is not None:
        document["sandbox"]["started_at"] = record.sandbox.started_at.isoformat()
    write_atomically(path, json.dumps({"version": VERSION, **document}, indent=1).encode(), mode=0o600)


def write_atomically(path: Path, content: bytes, *, mode: int, gid: int = -1) -> None:
    """Replace the file at ``path``; readers see the old or the new. ``gid`` -1 keeps the group of this process."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchown(descriptor, -1, gid)
        os.fchmod(descriptor, mode)
    temporary.replace(path)


def _decode(document: dict[str, Any]) -> EnvironmentRecord:
    sandbox = document["sandbox"]
    return EnvironmentRecord(
        uid=int(document["uid"]),
        hostname=str(document["hostname"]),
        limits=ResourceLimits(**document["limits"]),
        sandbox=None
        if sandbox is None
        else SandboxRecord(
            init=ProcessIdentity(**sandbox["init"]),
            network=str(sandbox["network"]),
            started_at=datetime.fromisoformat(sandbox["started_at"]),
            passt=None if sandbox["passt"] is None else ProcessIdentity(**sandbox["passt"]),
            groups=tuple(sandbox["groups"]),
        ),
    )
