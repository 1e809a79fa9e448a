"""Several server processes on one machine, which share the listening sockets of their parent."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType

import structlog

DESCRIPTORS = "DEVPOCKET_LISTENING"
"""Environment variable by which a child learns the numbers of the sockets it inherits."""
RESTART_PAUSE_S = 1.0
"""A process that died is started again after this, so that one that cannot start does not spin."""
MISCONFIGURED = 2

log = structlog.get_logger("devpocket.processes")


def inherited_sockets() -> list[socket.socket]:
    """Return the listening sockets that this process was started with; none in an ordinary start."""
    numbers = os.environ.pop(DESCRIPTORS, "")
    sockets = [socket.socket(fileno=int(number)) for number in numbers.split(",") if number]
    for each in sockets:
        each.setblocking(False)
        each.set_inheritable(False)
    return sockets


class Processes:
    """Keeps a number of server processes running until SIGTERM or SIGINT.

    A process that dies is started again, unless its settings do not allow a start (exit code 2), which ends all.
    """

    def __init__(self, count: int, sockets: Sequence[socket.socket]) -> None:
        self._count = count
        self._sockets = sockets
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._stopping = False

    def run(self) -> int:
        """Return the exit code when all have ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for index in range(self._count):
            self._start(index)
        worst = 0
        while self._children:
            pid, status = os.wait()
            for index in [each for each, child in self._children.items() if child.pid == pid]:
                exit_code = os.waitstatus_to_exitcode(status)
                self._children.pop(index).returncode = exit_code
                worst = max(worst, self._ended(index, exit_code))
        return worst

    def _start(self, index: int) -> None:
        descriptors = [each.fileno() for each in self._sockets]
        environ = {
            **os.environ,
            **_metrics_port(os.environ, index),
            DESCRIPTORS: ",".join(map(str, descriptors)),
        }
        arguments = [sys.executable, "-m", "devpocket", "serve", "--processes", "1"]
        self._children[index] = subprocess.Popen(arguments, env=environ, pass_fds=descriptors)

    def _ended(self, index: int, exit_code: int) -> int:
        """Start it again, or give up; return what this means for the exit code of all."""
        if self._stopping:
            return max(exit_code, 0)
        if exit_code == MISCONFIGURED:
            self._stop(signal.SIGTERM, None)
            return exit_code
        log.error("a server process ended and is started again", index=index, exit_code=exit_code)
        time.sleep(RESTART_PAUSE_S)
        if not self._stopping:
            self._start(index)
        return 0

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        for child in self._children.values():
            child.send_signal(number)


def _metrics_port(environ: Mapping[str, str], index: int) -> dict[str, str]:
    """Each process shows its figures on a port of its own, counting up from the first."""
    port = environ.get("METRICS_PORT", "")
    return {"METRICS_PORT": str(int(port) + index)} if port.isdecimal() and int(port) else {}
