"""Control groups: what holds CPU, memory and the number of processes where this machine lets the server use them.

One group per environment below one of this server's own. Version 2 has one tree for everything; version 1 has a tree
per controller. Sources: cgroups(7), the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

import contextlib
import errno
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devpocket.ids import EnvironmentId, is_id

PERIOD_US = 100_000
_PASSTHROUGH_S = 0.01


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What one environment may use."""

    cpu_millis: int
    memory_bytes: int
    processes: int

    @property
    def quota_us(self) -> int:
        """CPU time per period; the kernel takes no less than a thousandth of a second."""
        return max(self.cpu_millis * PERIOD_US // 1000, 1000)


class Cgroups:
    """The groups of this server; ``controllers`` says which limits they hold (none of them where it may not)."""

    version = "none"

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders
        """The server's own group, by controller."""

    @property
    def controllers(self) -> frozenset[str]:
        """Those of ``cpu``, ``memory`` and ``pids`` that hold."""
        return frozenset(self._folders) & {"cpu", "memory", "pids"}

    def ensure(self, environment_id: EnvironmentId, limits: GroupLimits) -> tuple[str, ...]:
        """Make the groups of an environment with these limits and return their folders."""
        for controller, folder in self._groups(environment_id):
            folder.mkdir(parents=True, exist_ok=True)
            self._set(controller, folder, limits)
        return tuple(dict.fromkeys(str(folder) for _, folder in self._groups(environment_id)))

    def remove(self, environment_id: EnvironmentId) -> bool:
        """Remove the groups of an environment without processes; False while the kernel still holds one of them."""
        removed = [remove_group(folder) for _, folder in self._groups(environment_id)]
        return all(removed)

    def left_over(self) -> set[EnvironmentId]:
        """Return the environments that there are groups of."""
        return {
            EnvironmentId(path.name)
            for folder in self._folders.values()
            if folder.is_dir()
            for path in folder.iterdir()
            if is_id(path.name)
        }

    def close(self) -> None:
        """Remove the server's own groups where they are empty; environments that run keep theirs."""
        for folder in self._folders.values():
            remove_group(folder)

    def cpu_s(self, environment_id: EnvironmentId) -> float | None:
        """Return the CPU seconds used by all processes so far, ended ones included; None when unknown."""
        return None

    def memory_bytes(self, environment_id: EnvironmentId) -> int | None:
        """Return the memory in use, without file pages that can be dropped at once; None when unknown."""
        return None

    def _groups(self, environment_id: EnvironmentId) -> Iterator[tuple[str, Path]]:
        for controller, folder in self._folders.items():
            yield controller, folder / environment_id

    def _set(self, controller: str, folder: Path, limits: GroupLimits) -> None:
        """Write the limits of one controller."""


class CgroupsV1(Cgroups):
    """A tree per controller."""

    version = "1"

    def _set(self, controller: str, folder: Path, limits: GroupLimits) -> None:
        match controller:
            case "pids":
                (folder / "pids.max").write_text(str(limits.processes))
            case "cpu":
                (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (folder / "cpu.cfs_quota_us").write_text(str(limits.quota_us))
            case "memory":
                _set_memory_v1(folder, limits.memory_bytes)

    def cpu_s(self, environment_id: EnvironmentId) -> float | None:
        """See the base."""
        folder = self._folders.get("cpuacct")
        text = _read(folder / environment_id / "cpuacct.usage") if folder else None
        return int(text) / 1e9 if text else None

    def memory_bytes(self, environment_id: EnvironmentId) -> int | None:
        """See the base."""
        folder = self._folders.get("memory")
        if folder is None:
            return None
        used = _read(folder / environment_id / "memory.usage_in_bytes")
        return max(int(used) - _stat(folder / environment_id, "total_inactive_file"), 0) if used else None


class CgroupsV2(Cgroups):
    """One tree."""

    version = "2"

    def _set(self, controller: str, folder: Path, limits: GroupLimits) -> None:
        match controller:
            case "pids":
                (folder / "pids.max").write_text(str(limits.processes))
            case "cpu":
                (folder / "cpu.max").write_text(f"{limits.quota_us} {PERIOD_US}")
            case "memory":
                (folder / "memory.max").write_text(str(limits.memory_bytes))
                # Absent where the kernel keeps no account of swap.
                with contextlib.suppress(FileNotFoundError):
                    (folder / "memory.swap.max").write_text("0")

    def cpu_s(self, environment_id: EnvironmentId) -> float | None:
        """See the base."""
        folder = next(iter(self._folders.values())) / environment_id
        text = _read(folder / "cpu.stat")
        fields = dict(line.split() for line in text.splitlines()) if text else {}
        return int(fields["usage_usec"]) / 1e6 if "usage_usec" in fields else None

    def memory_bytes(self, environment_id: EnvironmentId) -> int | None:
        """See the base."""
        folder = self._folders.get("memory")
        used = _read(folder / environment_id / "memory.current") if folder else None
        return max(int(used) - _stat(folder / environment_id, "inactive_file"), 0) if folder and used else None


def find_cgroups(data_dir: Path, mounts: str | None = None, own: str | None = None) -> Cgroups:
    """Return what this process may use; :class:`Cgroups` without any controller where that is nothing. Blocks briefly.

    ``mounts`` and ``own`` are ``/proc/self/mounts`` and ``/proc/self/cgroup`` unless given.
    """
    name = f"devpocket-{hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:8]}"
    mounts = Path("/proc/self/mounts").read_text() if mounts is None else mounts
    own = Path("/proc/self/cgroup").read_text() if own is None else own
    places = {kinds: path for _, kinds, path in (line.split(":", 2) for line in own.splitlines())}
    unified = _find_v2(name, mounts, places)
    if unified is not None:
        return unified
    folders = {}
    for kinds, place in places.items():
        for kind in {"cpu", "memory", "pids", "cpuacct"} & set(kinds.split(",")):
            folder = _v1_folder(kind, mounts, place, name)
            if folder is not None:
                folders[kind] = folder
    return CgroupsV1(folders) if folders else Cgroups({})


def _v1_folder(kind: str, mounts: str, place: str, name: str) -> Path | None:
    """Return this server's group of one controller: at the top, where the next server finds it too, or below ours."""
    for line in mounts.splitlines():
        _, target, filesystem, options = line.split()[:4]
        if filesystem == "cgroup" and kind in options.split(","):
            for parent in (Path(target), Path(target) / place.lstrip("/")):
                with contextlib.suppress(OSError):
                    (parent / name).mkdir(exist_ok=True)
                    if _is_joinable(parent / name):
                        return parent / name
    return None


def _find_v2(name: str, mounts: str, places: dict[str, str]) -> CgroupsV2 | None:
    targets = [Path(line.split()[1]) for line in mounts.splitlines() if line.split()[2] == "cgroup2"]
    if not targets or "" not in places:
        return None
    own = targets[0] / places[""].lstrip("/")
    # At the top or beside our own group, so that a service manager that ends ours leaves the environments alone; else
    # below it. What may not be written to is not for us.
    for parent in dict.fromkeys((targets[0], own.parent, own)):
        with contextlib.suppress(OSError):
            controllers = _delegate(parent, own, name)
            if controllers:
                return CgroupsV2(dict.fromkeys(sorted(controllers), parent / name))
    return None


def _delegate(parent: Path, own: Path, name: str) -> set[str]:
    """Make the group ``name`` below ``parent`` and return the controllers that groups below it can use."""
    wanted = {"cpu", "memory", "pids"} & set((parent / "cgroup.controllers").read_text().split())
    if not wanted or not os.access(parent / "cgroup.procs", os.W_OK):
        return set()
    if parent == own and (parent / "cgroup.type").exists():
        # A group that has controllers below it may not hold processes itself; the root may.
        leaf = own / "server"
        leaf.mkdir(exist_ok=True)
        for pid in (own / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
    group = parent / name
    group.mkdir(exist_ok=True)
    for folder in (parent, group):
        for controller in sorted(wanted):
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")
    held = wanted & set((group / "cgroup.subtree_control").read_text().split())
    if not held:
        group.rmdir()
    return held


def _set_memory_v1(folder: Path, memory_bytes: int) -> None:
    """Set memory, and memory with swap together where there is an account of it; the second may not be the smaller."""
    names = [name for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if (folder / name).exists()]
    present = _read(folder / names[-1])
    if len(names) > 1 and present is not None and memory_bytes > int(present):
        names.reverse()
    for name in names:
        try:
            (folder / name).write_text(str(memory_bytes))
        except OSError as error:
            # More is in use than it shall have from now on: what is in use stays, until it has been given back.
            if error.errno != errno.EBUSY:
                raise


def _is_joinable(folder: Path) -> bool:
    return os.access(folder / "cgroup.procs", os.W_OK)


def remove_group(folder: Path) -> bool:
    """Remove one group; False when it still holds something. A group that is not there counts as removed.

    What is still in it is killed: part of a start that was cut off, which no record names.
    """
    deadline = time.monotonic() + _PASSTHROUGH_S
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            _kill_members(folder)
        else:
            return True


def _kill_members(group: Path) -> None:
    for pid in (_read(group / "cgroup.procs") or "").split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _stat(folder: Path, name: str) -> int:
    """Return one line of ``memory.stat``; 0 when it is not there."""
    for line in (_read(folder / "memory.stat") or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
