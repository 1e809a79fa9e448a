"""The local runtime: environments in sandboxes on the server's own machine. They outlive the server process."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from devpocket.clock import Clock
from devpocket.domain.environments import EnvironmentSpec
from devpocket.domain.terminals import TerminalSize
from devpocket.errors import DevPocketError, UnavailableError
from devpocket.ids import EnvironmentId
from devpocket.runtime.local.accounting import MarkFinder, NamespaceFinder
from devpocket.runtime.local.bubblewrap import Bubblewrap, find_bubblewrap
from devpocket.runtime.local.cgroups import Cgroups, find_cgroups
from devpocket.runtime.local.configuration import LocalRuntimeSettings
from devpocket.runtime.local.environments import Environments
from devpocket.runtime.local.installing import Installer
from devpocket.runtime.local.layout import Layout
from devpocket.runtime.local.locks import EnvironmentLocks
from devpocket.runtime.local.preflight import Preflight, check_tools, clear_trials, preflight
from devpocket.runtime.local.sandbox import Sandboxes
from devpocket.runtime.local.spawning import Nursery
from devpocket.runtime.local.terminals import Terminals
from devpocket.runtime.local.uids import UidPool
from devpocket.runtime.local.usage import UsageMeter
from devpocket.runtime.local.watch import Notice, RunningEnvironment, Watch
from devpocket.runtime.port import ContainerState, InstallationProgress, RuntimeHealth, Terminal, Usage
from devpocket.settings import LocalSandbox

log = structlog.get_logger(__name__)

STARTING = EnvironmentId("starting")
"""The lock that a process holds while it starts."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What there is between start and close."""

    bubblewrap: Bubblewrap | None
    cgroups: Cgroups
    preflight: Preflight
    environments: Environments
    installer: Installer
    terminals: Terminals
    meter: UsageMeter
    watch: Watch


class LocalRuntime:
    """Fulfils :class:`devpocket.runtime.port.Runtime` with bubblewrap, passt, control groups and tmux.

    Several server processes may use one ``DATA_DIR``: what has to be agreed on is kept there.
    """

    def __init__(self, settings: LocalRuntimeSettings, clock: Clock, on_notice: Notice | None = None) -> None:
        """``on_notice`` is called on the loop with a sentence for the users of an environment that was held back."""
        self._settings = settings
        self._clock = clock
        self._on_notice = on_notice or (lambda _id, _text: None)
        self._nursery = Nursery()
        self._sweeping: asyncio.Task[None] | None = None
        self._cgroups: Cgroups | None = None
        self._parts: _Parts | None = None

    @property
    def _ready(self) -> _Parts:
        if self._parts is None:
            raise UnavailableError("The local runtime has not been started.")
        return self._parts

    # --- its own life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Find out what this machine can do, find running environments again, begin to watch them."""
        layout = Layout(self._settings.data_dir)
        await asyncio.to_thread(layout.create, walkable=self._settings.sandbox is LocalSandbox.NONE)
        # One process after the other: what one tries out would be rubbish to the sweep of another.
        async with EnvironmentLocks(layout.locks).hold(STARTING):
            try:
                self._parts = await self._make_parts(layout)
                await self._parts.environments.sweep()
            except BaseException:
                await self.close()
                raise
        for warning in self._parts.preflight.warnings:
            log.warning("local_runtime_warning", warning=warning)
        self._sweeping = asyncio.create_task(self._empty_trash(self._parts.environments), name="local runtime trash")
        self._parts.watch.start()

    async def _make_parts(self, layout: Layout) -> _Parts:
        settings = self._settings
        walls = settings.sandbox is LocalSandbox.BUBBLEWRAP
        check_tools()
        bubblewrap = await asyncio.to_thread(find_bubblewrap) if walls else None
        find = NamespaceFinder() if walls else MarkFinder()
        await clear_trials(layout, find)
        cgroups = self._cgroups = await asyncio.to_thread(find_cgroups, settings.data_dir)
        uids = UidPool(layout.uids, settings.uid_base)
        sandboxes = Sandboxes(settings, bubblewrap, cgroups, self._nursery, self._clock)
        found = await preflight(settings, layout, sandboxes, find, uids.spare)
        environments = Environments(
            layout=layout,
            uids=uids,
            sandboxes=sandboxes,
            find=find,
            nursery=self._nursery,
            network=found.network,
            grace_s=settings.stop_grace_s,
        )
        watch = Watch(
            self,
            find,
            data_dir=layout.data_dir,
            every_s=settings.watch_s,
            most_files=settings.files,
            holds_memory="memory" not in cgroups.controllers,
            on_notice=self._on_notice,
        )
        environments.is_full = watch.is_full
        terminals = Terminals(environments)
        meter = UsageMeter(find, cgroups, self._clock)
        installer = Installer(environments, self._nursery)
        return _Parts(bubblewrap, cgroups, found, environments, installer, terminals, meter, watch)

    async def close(self) -> None:
        """Let go of what this process holds. Environments go on running."""
        if self._parts is not None:
            await self._parts.watch.close()
        if self._cgroups is not None:
            self._cgroups.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        self._nursery.close()
        self._parts, self._cgroups, self._sweeping = None, None, None

    async def _empty_trash(self, environments: Environments) -> None:
        try:
            await environments.empty_trash()
        except (DevPocketError, OSError, TimeoutError) as error:
            log.warning("local_trash_stays", error=str(error))

    async def check(self) -> RuntimeHealth:
        """Return what it is and which limits hold."""
        parts = self._ready
        held = parts.cgroups.controllers
        version = f"bubblewrap {parts.bubblewrap.version}" if parts.bubblewrap else "no sandbox"
        limits = {
            "cpu": "cgroup" if "cpu" in held else "none",
            "memory": "cgroup" if "memory" in held else "watch",
            "processes": "cgroup" if "pids" in held else "rlimit",
            "storage": "watch",
        }
        network = parts.preflight.network.value
        return RuntimeHealth("local", version, limits, network, parts.preflight.warnings)

    # --- environments -------------------------------------------------------------------------------------------------

    async def ensure_running(self, spec: EnvironmentSpec) -> None:
        """Make home and sandbox exist and run; changed limits and variables are applied to a running one."""
        await self._ready.environments.ensure_running(spec)

    async def ensure_stopped(self, environment_id: EnvironmentId) -> None:
        """Save the terminal's state and end every process; the home stays."""
        parts = self._ready
        await parts.terminals.save_if_possible(environment_id)
        await parts.environments.ensure_stopped(environment_id)
        await parts.installer.settle(environment_id)
        self._forget(environment_id)

    async def ensure_deleted(self, environment_id: EnvironmentId) -> None:
        """End every process and remove everything, the home included."""
        await self._ready.environments.ensure_deleted(environment_id)
        self._forget(environment_id)

    def _forget(self, environment_id: EnvironmentId) -> None:
        self._ready.watch.forget(environment_id)
        self._ready.meter.forget(environment_id)

    async def observe(self, environment_id: EnvironmentId) -> ContainerState:
        """Return what is there now."""
        return await asyncio.to_thread(self._ready.environments.state, environment_id)

    async def list_environments(self) -> Sequence[EnvironmentId]:
        """Return the ids of all environments that this machine keeps anything of."""
        return await asyncio.to_thread(self._ready.environments.layout.list_environments)

    def running(self) -> list[RunningEnvironment]:
        """Return all environments that run, for the watch. Blocks briefly."""
        environments = self._ready.environments
        found = [
            RunningEnvironment(environment_id, environments.layout.of(environment_id), record, sandbox)
            for environment_id, record, sandbox in environments.running()
        ]
        self._ready.meter.forget_others({each.id for each in found})
        return found

    async def heal(self, environment: RunningEnvironment) -> None:
        """Mend the network of a running environment if it is broken, for the watch."""
        if environment.sandbox.passt is not None and not environment.sandbox.passt.is_alive:
            await self._ready.environments.heal(environment.id)

    async def usage(self, environment_id: EnvironmentId) -> Usage | None:
        """Return present figures, or None when it does not run. The first call measures the home: slower."""
        parts = self._ready
        record = await asyncio.to_thread(parts.environments.record, environment_id)
        if record is None or record.sandbox is None or not record.sandbox.init.is_alive:
            return None
        size_bytes = await parts.watch.size_bytes(environment_id, parts.environments.layout.of(environment_id))
        return await asyncio.to_thread(parts.meter.read, environment_id, record, record.sandbox, size_bytes)

    # --- installation -------------------------------------------------------------------------------------------------

    async def ensure_installation(self, spec: EnvironmentSpec, attempt: int) -> None:
        """Begin the start-up scripts of ``attempt`` unless they run or have run; survives the end of this process."""
        await self._ready.installer.ensure(spec, attempt)

    async def installation(self, environment_id: EnvironmentId, attempt: int, offset: int) -> InstallationProgress:
        """Return the progress of ``attempt`` and its output from ``offset`` bytes on."""
        return await self._ready.installer.progress(environment_id, attempt, offset)

    async def ensure_installation_ended(self, environment_id: EnvironmentId) -> None:
        """End the start-up scripts if they run; they count as failed then."""
        await self._ready.installer.ensure_ended(environment_id)

    # --- terminals ----------------------------------------------------------------------------------------------------

    async def ensure_terminal(self, spec: EnvironmentSpec) -> None:
        """Make the tmux session exist, restored from its saved state where there is one."""
        await self._ready.terminals.ensure(spec)

    async def attach(self, environment_id: EnvironmentId, size: TerminalSize | None) -> Terminal:
        """Attach one more tmux client, inside the environment."""
        return await self._ready.terminals.attach(environment_id, size)

    async def save_terminal(self, environment_id: EnvironmentId) -> None:
        """Save windows, layout, working directories and scrollback under ``.tmux`` of the home."""
        await self._ready.terminals.save(environment_id)
