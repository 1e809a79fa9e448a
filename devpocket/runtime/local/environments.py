"""The environments of this machine: made, found again, changed, ended and removed, one change at a time for each."""

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import structlog

from devpocket.domain.environments import EnvironmentSpec
from devpocket.errors import UnavailableError
from devpocket.ids import EnvironmentId
from devpocket.runtime.errors import DriverError
from devpocket.runtime.local import rlimits
from devpocket.runtime.local.accounting import ProcessFinder
from devpocket.runtime.local.ending import end_groups, end_sandbox
from devpocket.runtime.local.layout import EnvironmentPaths, Layout
from devpocket.runtime.local.locks import EnvironmentLocks
from devpocket.runtime.local.network import attach_passt, resolver_file
from devpocket.runtime.local.record import EnvironmentRecord, Records, SandboxRecord, write_record
from devpocket.runtime.local.sandbox import Entry, Sandboxes
from devpocket.runtime.local.spawning import CommandResult, Nursery, run
from devpocket.runtime.local.storage import remove_tree
from devpocket.runtime.local.system_files import variables_of, write_system_files
from devpocket.runtime.local.threads import finish_in_thread
from devpocket.runtime.local.uids import UidPool, gid_of
from devpocket.runtime.port import ContainerState
from devpocket.settings import LocalNetwork

log = structlog.get_logger(__name__)


class Environments:
    """What is on disk and what runs. Knows neither terminals nor installations."""

    def __init__(
        self,
        *,
        layout: Layout,
        uids: UidPool,
        sandboxes: Sandboxes,
        find: ProcessFinder,
        nursery: Nursery,
        network: LocalNetwork,
        grace_s: float,
    ) -> None:
        self.layout = layout
        self.sandboxes = sandboxes
        self.locks = EnvironmentLocks(layout.locks)
        self.is_full: Callable[[EnvironmentId], bool] = lambda _: False
        """Whether an environment has used up its storage; whoever measures says so."""
        self._uids = uids
        self._find = find
        self._nursery = nursery
        self._network = network
        self._grace_s = grace_s
        self._records = Records()

    # --- looking ------------------------------------------------------------------------------------------------------

    def record(self, environment_id: EnvironmentId) -> EnvironmentRecord | None:
        """Return what is known of an environment. Blocks briefly."""
        return self._records.get(self.layout.of(environment_id).record)

    def state(self, environment_id: EnvironmentId) -> ContainerState:
        """Return what is there now. Blocks briefly."""
        record = self.record(environment_id)
        if record is not None and record.sandbox is not None and record.sandbox.init.is_alive:
            return ContainerState.RUNNING
        is_there = self.layout.of(environment_id).root.is_dir()
        return ContainerState.STOPPED if is_there else ContainerState.ABSENT

    def running(self) -> list[tuple[EnvironmentId, EnvironmentRecord, SandboxRecord]]:
        """Return all that run. Blocks briefly."""
        ids = self.layout.list_environments()
        self._records.forget_others({self.layout.of(environment_id).record for environment_id in ids})
        found = ((environment_id, self.record(environment_id)) for environment_id in ids)
        return [
            (environment_id, record, record.sandbox)
            for environment_id, record in found
            if record is not None and record.sandbox is not None and record.sandbox.init.is_alive
        ]

    # --- making -------------------------------------------------------------------------------------------------------

    async def ensure_running(self, spec: EnvironmentSpec) -> None:
        """See the runtime port. Takes about 100 ms when there is something to start."""
        async with self.locks.hold(spec.environment_id):
            try:
                await self._ensure_running(spec)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise UnavailableError("The disk of this server is full.", detail=str(error)) from error
                raise

    async def _ensure_running(self, spec: EnvironmentSpec) -> None:
        paths = self.layout.of(spec.environment_id)
        record = await finish_in_thread(self._lay_out, spec, paths)
        if record.sandbox is not None and record.sandbox.init.is_alive:
            self.sandboxes.ensure_groups(spec.environment_id, record)
            pids = await asyncio.to_thread(self._find, spec.environment_id, record.sandbox)
            full = self.is_full(spec.environment_id)
            await rlimits.set_growth(pids, record.uid, record.limits.storage_bytes, full=full)
            await self._heal(paths, record, record.sandbox)
            return
        await self._clear(spec.environment_id, paths, record)
        record = replace(record, sandbox=None)
        await self.sandboxes.start(
            paths,
            record,
            self._network,
            lambda sandbox: write_record(paths.record, replace(record, sandbox=sandbox)),
        )

    def _lay_out(self, spec: EnvironmentSpec, paths: EnvironmentPaths) -> EnvironmentRecord:
        """Make folders and files as ``spec`` wants them and return the new record. Blocks."""
        variables = variables_of(spec, home=self.sandboxes.home(paths))
        last = self.record(spec.environment_id)
        uid = self._uids.claim(spec.environment_id) if last is None else last.uid
        self.layout.create_environment(paths, uid)
        write_system_files(paths, spec, variables, resolver_file(self._network)[0], gid_of(uid))
        sandbox = None if last is None else last.sandbox
        record = EnvironmentRecord(uid=uid, hostname=spec.hostname, limits=spec.limits, sandbox=sandbox)
        if record != last:
            write_record(paths.record, record)
        return record

    async def heal(self, environment_id: EnvironmentId) -> None:
        """Give a running environment its network again, when what carried it has ended."""
        async with self.locks.hold(environment_id):
            record = await asyncio.to_thread(self.record, environment_id)
            if record is not None and record.sandbox is not None and record.sandbox.init.is_alive:
                await self._heal(self.layout.of(environment_id), record, record.sandbox)

    async def _heal(self, paths: EnvironmentPaths, record: EnvironmentRecord, sandbox: SandboxRecord) -> None:
        if sandbox.passt is None or sandbox.passt.is_alive:
            return
        log.warning("local_network_lost", environment_id=paths.root.name)
        with paths.sandbox_log.open("ab") as file:
            passt = await attach_passt(sandbox.init, record.uid, self._nursery, file.fileno())
        write_record(paths.record, replace(record, sandbox=replace(sandbox, passt=passt)))

    # --- going in -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def entering(self, environment_id: EnvironmentId, *, folder: str = "") -> Iterator[Entry]:
        """Hold the way into an environment open; DriverError when it does not run. See :meth:`Sandboxes.entering`."""
        record = self.record(environment_id)
        if record is None:
            raise DriverError("This environment does not run.", code="environment_not_running")
        paths, full = self.layout.of(environment_id), self.is_full(environment_id)
        with self.sandboxes.entering(paths, record, folder=folder, full=full) as entry:
            yield entry

    async def run_inside(
        self, environment_id: EnvironmentId, argv: Sequence[str], *, deadline_s: float, stdin: bytes | None = None
    ) -> CommandResult:
        """Run a short command inside, as the environment's user, and return how it ended.

        Raises DriverError when the environment does not run, UnavailableError when the command takes longer. Cancelling
        ends it.
        """
        with self.entering(environment_id) as entry:
            try:
                return await run([*entry.argv, *argv], deadline_s=deadline_s, stdin=stdin, pass_fds=entry.pass_fds)
            except TimeoutError as error:
                raise UnavailableError("The environment does not answer.", detail=" ".join(argv[:3])) from error

    # --- ending -------------------------------------------------------------------------------------------------------

    async def ensure_stopped(self, environment_id: EnvironmentId) -> None:
        """End every process; the home stays."""
        async with self.locks.hold(environment_id):
            await self._end(environment_id, self._grace_s)

    async def ensure_deleted(self, environment_id: EnvironmentId) -> None:
        """End every process and remove everything. It is gone for everybody before its files are."""
        async with self.locks.hold(environment_id):
            record = await self._end(environment_id, grace_s=0.0)
            paths = self.layout.of(environment_id)
            discarded = await finish_in_thread(self.layout.discard, paths)
            if record is not None:
                self._uids.release(record.uid, environment_id)
            else:  # a creation that was cut off may have claimed one already
                self._uids.release_all(environment_id)
            self._records.forget(paths.record)
            if discarded is not None:
                await remove_tree(discarded)

    async def _end(self, environment_id: EnvironmentId, grace_s: float) -> EnvironmentRecord | None:
        record = await asyncio.to_thread(self.record, environment_id)
        if record is not None and record.sandbox is not None:
            await end_sandbox(environment_id, record.sandbox, self._find, grace_s)
            await self._clear(environment_id, self.layout.of(environment_id), record)
        else:  # a start that was cut off before its sandbox was written down leaves control groups
            await end_groups(self.sandboxes.cgroups, environment_id)
        return record

    async def _clear(self, environment_id: EnvironmentId, paths: EnvironmentPaths, record: EnvironmentRecord) -> None:
        """Let go of what a sandbox that has ended leaves behind: its network, its control groups, its record."""
        if record.sandbox is not None:
            await end_sandbox(environment_id, record.sandbox, self._find, grace_s=0.0)
            write_record(paths.record, replace(record, sandbox=None))

    async def sweep(self) -> None:
        """Remove what a crash left: ended sandboxes, groups and uids of nobody. Harmless beside other processes."""
        for environment_id in await asyncio.to_thread(self.layout.list_environments):
            try:
                await self._clear_if_ended(environment_id)
            except UnavailableError as error:  # its next start clears it, or says so; the others are none the worse
                log.warning("local_leftover", environment_id=environment_id, detail=error.detail)
        for environment_id in self.sandboxes.cgroups.left_over() | self._uids.holders():
            async with self.locks.hold(environment_id):
                state = await asyncio.to_thread(self.state, environment_id)
                if state is not ContainerState.RUNNING:
                    self.sandboxes.cgroups.remove(environment_id)
                if state is ContainerState.ABSENT:
                    self._uids.release_all(environment_id)

    async def _clear_if_ended(self, environment_id: EnvironmentId) -> None:
        async with self.locks.hold(environment_id):
            record = await asyncio.to_thread(self.record, environment_id)
            if record is not None and record.sandbox is not None and not record.sandbox.init.is_alive:
                await self._clear(environment_id, self.layout.of(environment_id), record)

    async def empty_trash(self) -> None:
        """Remove what was deleted and not yet removed."""
        for path in await asyncio.to_thread(self.layout.discarded):
            await remove_tree(path)
