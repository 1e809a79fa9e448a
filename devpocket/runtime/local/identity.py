"""Which process is meant: a pid alone is not enough, because the kernel gives it away again (pid_namespaces(7))."""

import contextlib
import os
import select
import signal
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot of this machine; stays true when the pid is given away again."""

    pid: int
    started_ticks: int
    """When it started, in clock ticks since boot (field 22 of proc_pid_stat(5))."""
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """Return the identity of the process that has ``pid`` now; raises ProcessLookupError when there is none."""
        return cls(pid, started_ticks(pid), boot_id())

    def open(self) -> int | None:
        """Return a pidfd of exactly this process, to be closed by the caller; None when it has ended.

        A zombie has ended. Source: pidfd_open(2).
        """
        if self.boot_id != boot_id():
            return None
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        # When it ends in between, that is the same as a pid that was never there.
        with contextlib.suppress(ProcessLookupError):
            if started_ticks(self.pid) == self.started_ticks and not has_ended(descriptor):
                return descriptor
        os.close(descriptor)
        return None

    @property
    def is_alive(self) -> bool:
        """True while it runs."""
        descriptor = self.open()
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def kill(self) -> bool:
        """Send SIGKILL to exactly this process; False when it had ended."""
        descriptor = self.open()
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def has_ended(pidfd: int) -> bool:
    """Tell whether the process of ``pidfd`` has ended (a pidfd becomes readable then)."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return the id of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def stat_fields(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the third (state) on; raises ProcessLookupError when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError as error:
        raise ProcessLookupError(pid) from error
    # The second field is the name, which may hold spaces and brackets.
    return text.rpartition(")")[2].split()


def started_ticks(pid: int) -> int:
    """Return when the process started, in clock ticks since boot; raises ProcessLookupError when it is gone."""
    return int(stat_fields(pid)[19])
