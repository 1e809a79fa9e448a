"""Starting processes: those that outlive the server, and short ones whose output is wanted."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from devpocket.runtime.output import OutputPipe

HOST_VARIABLES = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
"""The whole environment of what runs out here on behalf of an environment.

An environment's own variables never get here: ``LD_PRELOAD`` would run its code on the wrong side of the wall.
"""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended."""

    exit_code: int
    output: bytes
    """What it printed, cut off at the limit."""

    @property
    def text(self) -> str:
        """The output as text, for logs and messages."""
        return self.output.decode(errors="replace").strip()


class Nursery:
    """Starts processes that outlive this one, and reaps those that end before it. Used on one event loop."""

    def __init__(self) -> None:
        self._pidfds: dict[int, int] = {}

    def spawn(self, argv: Sequence[str], *, stdin: int, stdout: int, stderr: int, pass_fds: Sequence[int] = ()) -> int:
        """Start ``argv`` in a session of its own and return its pid.

        It gets copies of the given descriptors and nothing else of this process. Raises OSError when it cannot be run.
        """
        actions = [
            *((os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate((stdin, stdout, stderr))),
            # dup2 onto itself: keeps it open in the new process.
            *((os.POSIX_SPAWN_DUP2, descriptor, descriptor) for descriptor in pass_fds),
        ]
        program = shutil.which(argv[0], path=HOST_VARIABLES["PATH"])
        if program is None:
            raise FileNotFoundError(argv[0])
        pid = os.posix_spawn(
            program,
            [*argv],
            HOST_VARIABLES,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        )
        pidfd = os.pidfd_open(pid)
        self._pidfds[pid] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._reap, pid)
        return pid

    def _reap(self, pid: int) -> None:
        self._forget(pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    def _forget(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)

    def close(self) -> None:
        """Stop looking after them; those that run go on running."""
        for pid in list(self._pidfds):
            self._reap(pid)


async def run(
    argv: Sequence[str],
    *,
    deadline_s: float,
    stdin: bytes | None = None,
    limit_bytes: int = 64 * 1024,
    pass_fds: Sequence[int] = (),
    with_complaints: bool = True,
) -> CommandResult:
    """Run ``argv`` to its end and return its exit code and the first ``limit_bytes`` that it printed.

    That is stdout and stderr, or stdout alone without ``with_complaints``. Raises TimeoutError after ``deadline_s``.
    Then, and when this is cancelled, it is killed with its whole group, which reaches what it has entered into a
    sandbox, too.
    """
    with OutputPipe() as pipe:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=pipe.writer,
            stderr=subprocess.STDOUT if with_complaints else subprocess.DEVNULL,
            env=HOST_VARIABLES,
            cwd="/",
            pass_fds=pass_fds,
            start_new_session=True,
        )
        pipe.close_writer()
        feeding = asyncio.create_task(_feed(process, stdin)) if stdin is not None else None
        try:
            async with asyncio.timeout(deadline_s):
                output = await _read(pipe, limit_bytes)
                return CommandResult(await process.wait(), output)
        except BaseException:
            await asyncio.shield(_end(process))
            raise
        finally:
            if feeding is not None:
                feeding.cancel()


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    """Give ``data`` to the process; one that does not want it all is not our problem."""
    stream = process.stdin
    if stream is None:
        return
    with contextlib.suppress(ConnectionError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def _read(pipe: OutputPipe, limit_bytes: int) -> bytes:
    """Return the start of the output; the rest is read and forgotten, so that the process can end."""
    output = bytearray()
    while data := await pipe.read():
        output += data[: limit_bytes - len(output)]
    return bytes(output)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of the process' group, and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
