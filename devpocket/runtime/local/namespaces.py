"""The way into a running sandbox: its namespaces, held open while something is sent in (namespaces(7))."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devpocket.runtime.local.identity import ProcessIdentity, has_ended

NS_GET_USERNS = 0xB701
"""ioctl_ns(2): a descriptor of the user namespace that owns this one."""
_KINDS = {"mnt": "mount", "pid": "pid", "ipc": "ipc", "uts": "uts", "net": "net", "cgroup": "cgroup"}


@dataclass(frozen=True, slots=True)
class OpenNamespaces:
    """Open descriptors of all namespaces that a sandbox does not share with this process."""

    owner: int
    """The user namespace that owns the others. Bubblewrap makes a second one below it, to forbid more of them."""
    user: int
    """The user namespace that the sandbox's processes are in."""
    others: dict[str, int]

    @property
    def descriptors(self) -> list[int]:
        """What a process that enters has to be given."""
        return sorted({self.owner, self.user, *self.others.values()})

    def enter_argv(self) -> list[str]:
        """Return what to put before a command line to run it inside; for a process of the sandbox's own host uid.

        The first step may join the namespaces because it comes from the parent of their owner; the second gives up
        everything that this allows. nsenter(1) forks for the PID namespace, the command has another pid.
        """
        keep = "--preserve-credentials"
        owner, user = f"--user=/proc/self/fd/{self.owner}", f"--user=/proc/self/fd/{self.user}"
        others = [f"--{_KINDS[kind]}=/proc/self/fd/{descriptor}" for kind, descriptor in self.others.items()]
        argv = ["nsenter", keep, owner, *others, "--"]
        return argv if self.owner == self.user else [*argv, "nsenter", keep, user, "--"]


@contextlib.contextmanager
def open_namespaces(init: ProcessIdentity) -> Iterator[OpenNamespaces]:
    """Hold the namespaces of the sandbox whose first process is ``init``; raises ProcessLookupError when it has ended.

    All descriptors are checked to be of that very process, even when its pid is given away in between.
    """
    with contextlib.ExitStack() as stack:
        pidfd = init.open()
        if pidfd is None:
            raise ProcessLookupError(init.pid)
        stack.callback(os.close, pidfd)

        def hold(kind: str) -> int:
            descriptor = os.open(f"/proc/{init.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            return descriptor

        try:
            user = hold("user")
            others = {kind: hold(kind) for kind in _KINDS if _is_own(init.pid, kind)}
        except FileNotFoundError as error:
            raise ProcessLookupError(init.pid) from error
        owner = fcntl.ioctl(others["mnt"], NS_GET_USERNS)
        stack.callback(os.close, owner)
        if has_ended(pidfd):
            raise ProcessLookupError(init.pid)
        same = os.fstat(owner).st_ino == os.fstat(user).st_ino
        yield OpenNamespaces(owner=user if same else owner, user=user, others=others)


def _is_own(pid: int, kind: str) -> bool:
    """Tell whether the process has a namespace of its own; joining a shared one would be refused."""
    try:
        return Path(f"/proc/{pid}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
