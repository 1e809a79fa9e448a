"""Homes on the disk: how large they are, and how they are removed.

A home is hostile: links that lead out of it, folders without any permission, names that are not text. Nothing in this
process opens a path below one. du(1) and rm(1) walk by folder descriptors and follow no link.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from devpocket.errors import UnavailableError
from devpocket.runtime.local.spawning import run

SCAN_DEADLINE_S = 120.0
REMOVE_DEADLINE_S = 600.0
_LOW_PRIORITY = ("nice", "-n", "10")


@dataclass(frozen=True, slots=True)
class StorageReading:
    """The size of one home."""

    size_bytes: int
    """Blocks on the disk, hard links counted once."""
    files: int


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The file system that all homes are on."""

    total_bytes: int
    free_bytes: int

    @classmethod
    def of(cls, path: Path) -> "DiskSpace":
        """Read it now."""
        status = os.statvfs(path)
        return cls(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)

    @property
    def reserve_bytes(self) -> int:
        """What has to stay free for the server itself."""
        return max(512 * 1024 * 1024, self.total_bytes // 50)


async def measure(home: Path) -> StorageReading | None:
    """Return the size of a home, or None when it cannot be read (it is being removed). Takes as long as du(1)."""
    sizes = await _du(home, "--block-size=1")
    files = await _du(home, "--inodes")
    return None if sizes is None or files is None else StorageReading(sizes, files)


async def _du(home: Path, option: str) -> int | None:
    argv = [*_LOW_PRIORITY, "du", "--summarize", "--one-file-system", option, "--", str(home)]
    # Files that vanish meanwhile make du complain and exit with 1; its sum is still what it saw.
    result = await run(argv, deadline_s=SCAN_DEADLINE_S, with_complaints=False)
    number = result.text.partition("\t")[0]
    return int(number) if number.isdecimal() else None


async def remove_tree(path: Path) -> None:
    """Remove a folder of the trash with everything in it, whatever its permissions; links are removed, not followed.

    Raises UnavailableError when something stays. Cancelling stops half-way; calling again goes on.
    """
    remove = [*_LOW_PRIORITY, "rm", "--recursive", "--force", "--one-file-system", "--", str(path)]
    result = await run(remove, deadline_s=REMOVE_DEADLINE_S)
    if result.exit_code != 0:
        # Its owner may have forbidden it to itself. chmod does not follow the links that it meets.
        await run(
            [*_LOW_PRIORITY, "chmod", "--recursive", "--silent", "u+rwx", "--", str(path)],
            deadline_s=REMOVE_DEADLINE_S,
        )
        result = await run(remove, deadline_s=REMOVE_DEADLINE_S)
    if result.exit_code != 0:
        raise UnavailableError("Some files could not be removed.", detail=f"{path}: {result.text[-500:]}")
