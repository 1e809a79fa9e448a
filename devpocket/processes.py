"""Several server processes on one machine, which share the listening sockets of their parent."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

import structlog

from devpocket.settings import Settings

DESCRIPTORS = "DEVPOCKET_LISTENING"
"""Environment variable by which a child learns its parent's pid and the numbers of the sockets it inherits."""
RESTART_PAUSE_S = 1.0
"""A process that died is started again after this, so that one that cannot start does not spin."""
MISCONFIGURED = 2
"""The exit code for settings, a machine or a part that does not allow a start."""
PR_SET_PDEATHSIG = 1
"""prctl(2)."""

log = structlog.get_logger("devpocket.processes")


def inherited_sockets() -> list[socket.socket]:
    """Return the listening sockets that this process was started with; none in an ordinary start.

    From then on this process gets SIGTERM when its parent is gone: left alone, it would hold the port for ever.
    """
    parent, _, numbers = os.environ.pop(DESCRIPTORS, "").partition(":")
    if parent:
        _end_with(int(parent))
    sockets = [socket.socket(fileno=int(number)) for number in numbers.split(",") if number]
    for each in sockets:
        each.setblocking(False)
        each.set_inheritable(False)
    return sockets


def _end_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before this process could ask to be told
        sys.exit(1)


class Processes:
    """Keeps a number of server processes running until SIGTERM or SIGINT; hands SIGUSR1 on to them.

    A process that dies is started again, unless its settings do not allow a start (exit code 2), which ends all.
    """

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._stopping = False

    def run(self) -> int:
        """Return the exit code when all have ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGUSR1, self._hand_on)
        for index in range(self._settings.server.processes):
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
            **variables_of(self._settings, index),
            DESCRIPTORS: f"{os.getpid()}:{','.join(map(str, descriptors))}",
        }
        arguments = [sys.executable, "-m", "devpocket", "serve", "--processes", "1"]
        # In a group of its own: Ctrl-C goes to the parent alone, which hands it on once.
        self._children[index] = subprocess.Popen(arguments, env=environ, pass_fds=descriptors, process_group=0)

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

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._hand_on(number, frame)

    def _hand_on(self, number: int, _frame: FrameType | None) -> None:
        for child in self._children.values():
            child.send_signal(number)


def variables_of(settings: Settings, index: int) -> dict[str, str]:
    """Return what a child has to be told: what may have come from the command line, and its own port for figures.

    Whether others can reach the server decides which network environments may have, so every child has to know.
    """
    variables = {"HOST": settings.server.host, "PORT": str(settings.server.port)}
    first = settings.observation.metrics_port
    return variables | {"METRICS_PORT": str(first + index)} if first else variables
