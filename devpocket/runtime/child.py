"""Child processes that lead a group of their own and are reaped on the event loop, without a thread per child."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

from devpocket.runtime.output import OutputPipe

_GROUP_POLL_S = 0.005


class Child:
    """Watches a process through its pidfd (pidfd_open(2)) and reaps it as soon as it ends."""

    def __init__(self, process: subprocess.Popen[bytes], on_end: Callable[[], None]) -> None:
        """Watch ``process`` on the running loop; ``on_end`` is called there once, after it has been reaped."""
        self._process = process
        self._on_end = on_end
        self._pidfd = os.pidfd_open(process.pid)
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's once it leads one."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """True once it has been reaped."""
        return self._ended.is_set()

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        self._ended.set()
        self._on_end()

    def signal_group(self, number: int) -> bool:
        """Signal every process of its group (0: only look) and return whether there is any."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            if self.has_ended:
                return False
            # It has been started and does not lead a group yet.
            self._process.send_signal(number)
        except PermissionError:
            return True
        return True

    async def end(self, steps: Sequence[tuple[int, float]]) -> bool:
        """Send the group one signal after the other, each given its seconds, until none of it is left; say if so.

        The whole group counts, because a process that was entered into a sandbox is a grandchild. Cancelling stops only
        the waiting.
        """
        for number, seconds in steps:
            self.signal_group(number)
            try:
                async with asyncio.timeout(seconds):
                    await self._ended.wait()
                    # Nothing tells of the end of a process that is not one's own child.
                    while self.signal_group(0):  # noqa: ASYNC110
                        await asyncio.sleep(_GROUP_POLL_S)
            except TimeoutError:
                continue
            return True
        return False


async def read_output(
    argv: Sequence[str],
    *,
    limit_bytes: int,
    deadline_s: float,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> bytes:
    """Return the first ``limit_bytes`` that a command prints, or what there is when ``deadline_s`` have passed.

    The command is killed with its group when it is not done by then, when it prints more, and when this is cancelled.
    Its diagnostics and exit status are ignored.
    """
    printed = bytearray()
    with OutputPipe() as pipe:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.DEVNULL,
            stdout=pipe.writer,
            stderr=subprocess.DEVNULL,
            env=env,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        pipe.close_writer()
        try:
            async with asyncio.timeout(deadline_s):
                while (room := limit_bytes - len(printed)) > 0 and (data := await pipe.read(room)):
                    printed += data
                if room > 0:
                    await process.wait()
        except TimeoutError:
            return bytes(printed)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await asyncio.shield(process.wait())
    return bytes(printed)
