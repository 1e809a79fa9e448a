"""Several server processes on one machine, which share the listening sockets of their parent."""

import ctypes
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import structlog

from devpocket.settings import Settings

DESCRIPTORS = "DEVPOCKET_LISTENING"
"""Environment variable by which a child learns its parent's pid and the numbers of the sockets it inherits."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""A process that died is started again after this; the pause doubles each time that one lived for less than this:"""
STEADY_S = 60.0
HANGING_S = 1.0
"""A process that is to end, and has had its time, is killed after so much more."""
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

    One that does not end in its time is killed: it would keep the port, and the next start from having it.
    A process that dies is started again, after a pause that grows while it dies young, unless its settings do not allow
    a start (exit code 2), which ends all.
    """

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._slots = [_Slot() for _ in range(settings.server.processes)]
        self._stopping = False
        self._killing_s = math.inf
        self._worst = 0

    def run(self) -> int:
        """Return the exit code when all have ended."""
        with _Signals(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD) as signals:
            while not self._stopping or any(slot.process for slot in self._slots):
                pause_s = self._kill_what_hangs() if self._stopping else self._start_what_is_due()
                for number in signals.wait(pause_s):
                    if number in (signal.SIGTERM, signal.SIGINT):
                        self._stop(number)
                    elif number == signal.SIGUSR1:
                        self._hand_on(number)
                self._reap()
        return self._worst

    def _start_what_is_due(self) -> float | None:
        """Return how many seconds there are until the next start."""
        now_s = time.monotonic()
        for index, slot in enumerate(self._slots):
            if slot.process is None and slot.due_s <= now_s:
                self._start(index, slot)
        pauses_s = [slot.due_s - now_s for slot in self._slots if slot.process is None]
        return min(pauses_s, default=None)

    def _start(self, index: int, slot: "_Slot") -> None:
        descriptors = [each.fileno() for each in self._sockets]
        environ = {
            **os.environ,
            **variables_of(self._settings, index),
            DESCRIPTORS: f"{os.getpid()}:{','.join(map(str, descriptors))}",
        }
        arguments = [sys.executable, "-m", "devpocket", "serve", "--processes", "1"]
        # In a group of its own: Ctrl-C goes to the parent alone, which hands it on once.
        slot.process = subprocess.Popen(arguments, env=environ, pass_fds=descriptors, process_group=0)
        slot.started_s = time.monotonic()

    def _reap(self) -> None:
        """Look who has ended: processes of ours, and as the first process of a container, other people's orphans."""
        while any(slot.process for slot in self._slots):
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            for index, slot in enumerate(self._slots):
                if slot.process is not None and slot.process.pid == pid:
                    slot.process.returncode = os.waitstatus_to_exitcode(status)
                    self._ended(index, slot, slot.process.returncode)

    def _ended(self, index: int, slot: "_Slot", exit_code: int) -> None:
        """Have it started again, or give up."""
        lived_s = time.monotonic() - slot.started_s
        slot.process = None
        if self._stopping:
            self._worst = max(self._worst, exit_code)
        elif exit_code == MISCONFIGURED:
            self._worst = exit_code
            self._stop(signal.SIGTERM)
        else:
            slot.pause_s = next_pause_s(slot.pause_s, lived_s)
            slot.due_s = time.monotonic() + slot.pause_s
            log.error(
                "a server process ended and is started again", index=index, exit_code=exit_code, pause_s=slot.pause_s
            )

    def _kill_what_hangs(self) -> float:
        """Return how many seconds there are until then."""
        left_s = self._killing_s - time.monotonic()
        if left_s > 0:
            return left_s
        log.error("server processes that hang are killed")
        self._hand_on(signal.SIGKILL)
        return HANGING_S

    def _stop(self, number: int) -> None:
        server = self._settings.server
        patience_s = 0.0 if self._stopping else server.shutdown_notice_s + server.shutdown_timeout_s
        self._killing_s = min(self._killing_s, time.monotonic() + patience_s + HANGING_S)
        self._stopping = True
        for each in self._sockets:
            each.close()  # or connections would be taken for which nobody is there any more
        self._hand_on(number)

    def _hand_on(self, number: int) -> None:
        for slot in self._slots:
            if slot.process is not None:  # not reaped yet, so the pid is its own
                os.kill(slot.process.pid, number)


@dataclass(slots=True)
class _Slot:
    """The place of one process: the one that runs, or when the next one is due (monotonic seconds)."""

    process: "subprocess.Popen[bytes] | None" = None
    started_s: float = 0.0
    due_s: float = 0.0
    pause_s: float = 0.0


def next_pause_s(former_s: float, lived_s: float) -> float:
    """Return the pause before a process that lived for so long is started again, given the one before it."""
    return FIRST_PAUSE_S if lived_s >= STEADY_S else min(max(FIRST_PAUSE_S, former_s * 2), LONGEST_PAUSE_S)


class _Signals:
    """Turns signals into something to wait for, so that nothing happens in the middle of something else."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        self._reader, self._writer = socket.socketpair()

    def __enter__(self) -> "_Signals":
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            signal.signal(number, lambda _number, _frame: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def wait(self, longest_s: float | None) -> bytes:
        """Return the numbers of the signals that have come, after the first of them, or after ``longest_s``."""
        readable, _, _ = select.select([self._reader], [], [], longest_s)
        return self._reader.recv(4096) if readable else b""


def variables_of(settings: Settings, index: int) -> dict[str, str]:
    """Return what a child has to be told: what may have come from the command line, and its own port for figures.

    Whether others can reach the server decides which network environments may have, so every child has to know.
    """
    variables = {"HOST": settings.server.host, "PORT": str(settings.server.port)}
    first = settings.observation.metrics_port
    return variables | {"METRICS_PORT": str(first + index)} if first else variables
