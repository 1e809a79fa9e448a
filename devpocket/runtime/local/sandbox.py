"""Starting, entering and ending the sandbox of one environment."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from devpocket.clock import Clock
from devpocket.ids import EnvironmentId
from devpocket.runtime.errors import DriverError
from devpocket.runtime.local.bubblewrap import Bubblewrap, hidden_below_system
from devpocket.runtime.local.cgroups import Cgroups, GroupLimits
from devpocket.runtime.local.configuration import LocalRuntimeSettings
from devpocket.runtime.local.handshake import Handshake
from devpocket.runtime.local.identity import ProcessIdentity
from devpocket.runtime.local.layout import EnvironmentPaths
from devpocket.runtime.local.namespaces import open_namespaces
from devpocket.runtime.local.network import attach_passt
from devpocket.runtime.local.record import EnvironmentRecord, SandboxRecord
from devpocket.runtime.local.rlimits import limit_argv
from devpocket.runtime.local.spawning import Nursery
from devpocket.runtime.local.system_files import FILES, HOME
from devpocket.runtime.local.uids import drop_argv
from devpocket.settings import LocalNetwork

_STAGE = "/mnt"
# In a mount namespace of its own, so that nobody else sees it: the environment's user need not be able to walk the
# path to DATA_DIR, which is the server's alone.
_STAGE_ARGV = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
_STAGE_SCRIPT = f'mount --bind "$1" {_STAGE} && shift && exec "$@"'
# Before anything else: the control groups (125 when one has gone), and a working directory that everybody may see,
# without a word of the server's own.
_JOIN_SCRIPT = (
    'cd /; unset OLDPWD; for group in $1; do echo 0 >"$group/cgroup.procs" || exit 125; done; shift; exec "$@"'
)
# nsenter(1) has to outlive what it started, or its zombie goes to the machine's first process, which may take its time.
_STAY_SCRIPT = f"trap '' HUP INT TERM; {_JOIN_SCRIPT}"

_POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Entry:
    """How to run a command inside: what to put before it, and the descriptors that this needs."""

    argv: tuple[str, ...]
    pass_fds: tuple[int, ...]


class Sandboxes:
    """What encloses environments on this machine; one code path for root and for an ordinary user."""

    def __init__(
        self,
        settings: LocalRuntimeSettings,
        bubblewrap: Bubblewrap | None,
        cgroups: Cgroups,
        nursery: Nursery,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._bubblewrap = bubblewrap
        self.cgroups = cgroups
        self._nursery = nursery
        self._clock = clock

    def files(self, paths: EnvironmentPaths) -> str:
        """Return where the files of an environment are, as it sees them."""
        return FILES if self._bubblewrap else str(paths.etc)

    def home(self, paths: EnvironmentPaths) -> str:
        """Return where the home of an environment is, as it sees it."""
        return HOME if self._bubblewrap else str(paths.home)

    async def start(
        self,
        paths: EnvironmentPaths,
        record: EnvironmentRecord,
        network: LocalNetwork,
        write_down: Callable[[SandboxRecord], None],
    ) -> SandboxRecord:
        """Start the sandbox of an environment and return what is known of it, once it is really up.

        ``write_down`` is called before anything can happen in it: when this process dies earlier, the sandbox ends by
        itself. Raises DriverError when it does not come up. Cancelling leaves nothing.
        """
        async with contextlib.AsyncExitStack() as undo:
            try:
                async with asyncio.timeout(self._settings.start_s):
                    return await self._start(paths, record, network, write_down, undo)
            except (OSError, TimeoutError, ValueError) as error:
                raise _not_started(paths, f"{type(error).__name__}: {error}") from error

    async def _start(
        self,
        paths: EnvironmentPaths,
        record: EnvironmentRecord,
        network: LocalNetwork,
        write_down: Callable[[SandboxRecord], None],
        undo: contextlib.AsyncExitStack,
    ) -> SandboxRecord:
        groups = self.ensure_groups(EnvironmentId(paths.root.name), record)
        with paths.sandbox_log.open("wb") as log:
            pipes = undo.enter_context(Handshake())
            outer = ProcessIdentity.of(self._spawn(paths, record, network, pipes, groups=groups, log=log.fileno()))
            undo.push_async_callback(_end, outer)
            await pipes.expect(b"up\n")
            init = outer if self._bubblewrap is None else pipes.read_init()
            undo.push_async_callback(_end, init)
            sandbox = SandboxRecord(init=init, network=network.value, started_at=self._clock.now(), groups=groups)
            if network is LocalNetwork.PRIVATE:
                passt = await attach_passt(init, record.uid, self._nursery, log.fileno())
                undo.push_async_callback(_end, passt)
                sandbox = replace(sandbox, passt=passt)
        write_down(sandbox)
        pipes.go()
        await pipes.expect(b"ready\n")
        undo.pop_all()
        pipes.close()
        return sandbox

    def _spawn(
        self,
        paths: EnvironmentPaths,
        record: EnvironmentRecord,
        network: LocalNetwork,
        pipes: Handshake,
        *,
        groups: Sequence[str],
        log: int,
    ) -> int:
        """Start the first process and return its pid out here."""
        limits = self._limit_argv(record, full=False)
        init = [*limits, "bash", "-p", f"{self.files(paths)}/init", self.home(paths)]
        argv = [*_sh(_JOIN_SCRIPT, groups), *self._enclose_argv(paths, record, network, pipes.info), *init]
        pid = self._nursery.spawn(
            argv, stdin=pipes.stdin_end, stdout=pipes.stdout_end, stderr=log, pass_fds=(pipes.info,)
        )
        pipes.close_far_ends()
        return pid

    def _enclose_argv(
        self, paths: EnvironmentPaths, record: EnvironmentRecord, network: LocalNetwork, info: int
    ) -> list[str]:
        if self._bubblewrap is None:
            return drop_argv(record.uid)
        is_root = os.geteuid() == 0
        enclose = self._bubblewrap.argv(
            source=Path(_STAGE) if is_root else paths.root,
            hostname=record.hostname,
            memory_bytes=record.limits.memory_bytes,
            own_network=network is not LocalNetwork.HOST,
            hidden=hidden_below_system([self._settings.data_dir, *self._settings.hidden_paths]),
        )
        stage = [*_STAGE_ARGV, _STAGE_SCRIPT, "sh", str(paths.root)] if is_root else []
        return [*stage, *drop_argv(record.uid), *enclose, "--info-fd", str(info), "--"]

    def ensure_groups(self, environment_id: EnvironmentId, record: EnvironmentRecord) -> tuple[str, ...]:
        """Make the control groups of an environment, or set their limits anew."""
        limits = GroupLimits(record.limits.cpu_millis, record.limits.memory_bytes, self._settings.processes)
        return self.cgroups.ensure(environment_id, limits)

    @contextlib.contextmanager
    def entering(
        self, paths: EnvironmentPaths, record: EnvironmentRecord, *, folder: str = "", full: bool = False
    ) -> Iterator[Entry]:
        """Hold the way in open: what is started meanwhile with the entry runs inside, with its variables and limits.

        ``folder`` is where it starts, the home unless given; ``full`` forbids files to grow. Raises DriverError when
        the environment does not run.
        """
        files, home = self.files(paths), self.home(paths)
        launch = [*self._limit_argv(record, full=full), "bash", "-p", f"{files}/launch", files, folder or home]
        if record.sandbox is None:
            raise DriverError("This environment does not run.", code="environment_not_running")
        try:
            with contextlib.ExitStack() as stack:
                before = [*_sh(_STAY_SCRIPT, record.sandbox.groups), *drop_argv(record.uid)]
                if self._bubblewrap is None:
                    yield Entry((*before, *launch), ())
                    return
                namespaces = stack.enter_context(open_namespaces(record.sandbox.init))
                yield Entry((*before, *namespaces.enter_argv(), *launch), tuple(namespaces.descriptors))
        except ProcessLookupError as error:
            raise DriverError("This environment does not run.", code="environment_not_running") from error

    def _limit_argv(self, record: EnvironmentRecord, *, full: bool) -> list[str]:
        polite = [] if "cpu" in self.cgroups.controllers else ["nice", "-n", "5"]
        holds_memory = "memory" not in self.cgroups.controllers
        processes = self._settings.processes
        return [*polite, *limit_argv(record.limits, processes=processes, holds_memory=holds_memory, full=full)]


def _sh(script: str, groups: Sequence[str]) -> list[str]:
    return ["sh", "-c", script, "sh", " ".join(groups)]


async def _end(process: ProcessIdentity) -> None:
    """Return when it has ended: whoever is next to hold the lock must not take one that is dying for one that runs."""
    while process.kill():  # noqa: ASYNC110 - nothing tells of the end of a process that is not a child
        await asyncio.sleep(_POLL_S)


def _not_started(paths: EnvironmentPaths, reason: str) -> DriverError:
    with contextlib.suppress(OSError):
        reason = f"{reason}; {paths.sandbox_log.read_text(errors='replace')[-1000:].strip()}"
    return DriverError("The environment could not be started.", code="environment_not_started", detail=reason)
