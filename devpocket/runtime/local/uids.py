"""One host uid per environment, where the server may give them away (root); otherwise its own.

A uid of its own keeps signals, files and per-user limits of one environment apart from all others even where a
namespace would not.
"""

import errno
import os
from pathlib import Path

from devpocket.errors import ConfigurationError
from devpocket.ids import EnvironmentId
from devpocket.runtime.errors import DriverError

PREFERRED_BASES = (2_000_000_000, 40_000)
"""Above all ranges that distributions, containers and subuid(5) give away; the other for small user namespaces."""
SLOTS = 20_000


class UidPool:
    """The uids in use, one symbolic link each, so that several server processes agree.

    A link is made in one step, with what it says (symlink(2)): a server that is killed leaves it whole or not at all.
    """

    def __init__(self, folder: Path, base: int | None) -> None:
        """Raises ConfigurationError when the range does not exist on this machine."""
        self._folder = folder
        self._base = choose_base(base) if os.geteuid() == 0 else None

    @property
    def spare(self) -> int:
        """A uid that is never claimed, for trying things out: the last of the range; the server's own without one."""
        return os.geteuid() if self._base is None else self._base + SLOTS

    def claim(self, environment_id: EnvironmentId) -> int:
        """Return a uid that no other environment has; one that it holds already is returned again."""
        if self._base is None:
            return os.geteuid()
        taken = self._taken()
        for uid, holder in taken.items():
            if holder == environment_id:
                return uid
        for uid in range(self._base, self._base + SLOTS):
            if uid not in taken and self._take(uid, environment_id):
                return uid
        raise DriverError("This server cannot hold any more environments.", detail="every uid of the range is taken")

    def _take(self, uid: int, environment_id: EnvironmentId) -> bool:
        try:
            (self._folder / str(uid)).symlink_to(environment_id)
        except FileExistsError:
            return False
        return True

    def _taken(self) -> dict[int, EnvironmentId]:
        return {int(path.name): _holder(path) for path in self._folder.iterdir() if path.name.isdecimal()}

    def release(self, uid: int, environment_id: EnvironmentId) -> None:
        """Give a uid back, when that environment holds it."""
        path = self._folder / str(uid)
        if _holder(path) == environment_id:
            path.unlink(missing_ok=True)

    def holders(self) -> set[EnvironmentId]:
        """Return the environments that hold a uid."""
        return {holder for holder in self._taken().values() if holder} if self._base is not None else set()

    def release_all(self, environment_id: EnvironmentId) -> None:
        """Give back whatever an environment that does not exist any more holds."""
        for uid in self._taken():
            self.release(uid, environment_id)


def _holder(path: Path) -> EnvironmentId:
    """Return whom the link names; nobody when it has just been removed or is none of ours."""
    try:
        return EnvironmentId(str(path.readlink()))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return EnvironmentId("")
        raise


def gid_of(uid: int) -> int:
    """Return the group that may read an environment's own files: its user's where that is another one, else -1."""
    return uid if os.geteuid() == 0 else -1


def choose_base(wanted: int | None) -> int:
    """Return the first uid of a range that exists in this user namespace (user_namespaces(7))."""
    lines = [[int(word) for word in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    for base in PREFERRED_BASES if wanted is None else (wanted,):
        if any(inside <= base and base + SLOTS < inside + count for inside, _, count in lines):
            return base
    raise ConfigurationError("LOCAL_UID_BASE: no such range of user ids on this machine; name one that is free")


def drop_argv(uid: int) -> list[str]:
    """Return what to put before a command line so that it runs as ``uid``, never with more rights than that."""
    if os.geteuid() != 0:
        return ["setpriv", "--no-new-privs"]
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]
