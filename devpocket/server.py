"""The composition root: settings -> ports -> actors -> application; start and stop in order."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import structlog
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from actors.directory import Directory
from actors.dispatch import handler_table
from actors.environment import EnvironmentActor
from actors.loop import LoopActor, busy_actors
from actors.ports import Ports
from actors.terminal_sessions import end_all
from actors.user import UserActor
from devpocket.assembly import Assembly, assemble, load_own_templates, make_ports, secret_keys, shared_value
from devpocket.clock import Clock, SystemClock
from devpocket.cutoff import end_process_after
from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.ids import EnvironmentId, new_id
from devpocket.metrics import LoopLagMonitor, Metrics
from devpocket.settings import Settings
from devpocket.store.port import Store
from handlers.health import VERSION
from handlers.prometheus import make_metrics_application
from handlers.routes import make_application, server_options
from handlers.socket_registry import SocketRegistry

log = structlog.get_logger("devpocket.server")

GOING_AWAY = 1001
"""RFC 6455, 7.4.1."""
GC_THRESHOLDS = (2_000, 10, 100)
"""Actors come after the start and live long, so Python's own (700, 10, 10) look through all of them again and again.

With 10,000 started after it: no full collection instead of ten of 0.1 s and more, and none of the others above 10 ms.
"""
RECONNECT = "The server restarts. Your terminal goes on: connect again in a moment."


def listen(settings: Settings) -> list[socket.socket]:
    """Return the listening sockets; ConfigurationError in one line when the address or the port cannot be had."""
    return _bound(settings.server.host, settings.server.port, "HOST, PORT")


def listen_for_metrics(settings: Settings) -> list[socket.socket]:
    """Return the sockets of ``METRICS_PORT``, none where that is not set; ConfigurationError as above."""
    observation = settings.observation
    if observation.metrics_port is None:
        return []
    return _bound(observation.metrics_host, observation.metrics_port, "METRICS_PORT")


def _bound(host: str, port: int, named: str) -> list[socket.socket]:
    try:
        return bind_sockets(port, host)
    except OSError as error:
        raise ConfigurationError(f"{named}: cannot listen on {host}:{port}: {error.strerror or error}") from error


class Server:
    """One server process. :meth:`run` starts it, serves until a signal, and stops it."""

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket], clock: Clock | None = None) -> None:
        # A free port was asked for with 0; links in mails need the one that was found.
        port = sockets[0].getsockname()[1]
        self._settings = replace(settings, server=replace(settings.server, port=port))
        self._listening = sockets
        self._clock = clock or SystemClock()
        self._sockets = SocketRegistry()
        self._stopping = asyncio.Event()
        self._assembly: Assembly | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; ConfigurationError when a part does not allow a start."""
        async with AsyncExitStack() as stack:
            for_metrics = listen_for_metrics(self._settings)  # while there is nothing yet that would have to be stopped
            assembly = await self._start_parts(stack)
            http = HTTPServer(make_application(assembly.backend, self._sockets), **server_options(assembly.backend))
            http.add_sockets(self._listening)
            if for_metrics:
                HTTPServer(make_metrics_application(assembly.backend.metrics)).add_sockets(for_metrics)
                log.info("metrics listen", port=for_metrics[0].getsockname()[1])
            self._handle_signals()
            assembly.backend.health.accepting = True
            self._announce()
            gc.collect()
            gc.freeze()  # what lives now lives as long as the process: later collections skip it
            gc.set_threshold(*GC_THRESHOLDS)
            await self._stopping.wait()
            await self._stop(assembly, http)

    def stop(self) -> None:
        """Begin to stop; the second time the process ends at once."""
        if self._stopping.is_set():
            os._exit(1)
        self._stopping.set()

    # --- start -------------------------------------------------------------------------------------------------------

    async def _start_parts(self, stack: AsyncExitStack) -> Assembly:
        """Start store, runtime, bus, services, in this order; the stack closes them in the other."""
        settings = self._settings
        prepare_data_dir(settings.server.data_dir)
        metrics = Metrics(VERSION, settings.server.environment)
        ports = make_ports(settings, self._clock, metrics, self._notice)
        stack.push_async_callback(ports.store.close)
        await ports.store.start()
        keys = await secret_keys(settings, ports.store)
        owns_runtime = await claim_data_dir(settings.server.data_dir, ports.store)
        stack.push_async_callback(ports.runtime.close)
        await ports.runtime.start()
        stack.push_async_callback(ports.bus.close)
        await ports.bus.start()
        assembly = self._assembly = assemble(ports, keys, owns_runtime=owns_runtime)
        await self._load_first_templates(ports.store)
        for closing in (assembly.passwords.close, assembly.google.close, assembly.outbox.close):
            stack.push_async_callback(closing)
        assembly.outbox.start()
        await self._observe(assembly, metrics, stack)
        await assembly.supervisor.start()
        return assembly

    async def _load_first_templates(self, store: Store) -> None:
        if not await store.templates.count("name"):
            written, _ = await load_own_templates(store, self._clock)
            log.info("templates loaded", count=written)

    async def _observe(self, assembly: Assembly, metrics: Metrics, stack: AsyncExitStack) -> None:
        LoopActor.observer = metrics
        backend = assembly.backend
        metrics.prepare(actors={kind.__name__: _message_names(kind) for kind in (UserActor, EnvironmentActor)})
        metrics.watch_bus(lambda: assembly.ports.bus.degraded)

        def count_actors() -> None:
            directories: dict[str, Directory[object]] = {
                UserActor.__name__: backend.users,  # type: ignore[dict-item]  # only counted
                EnvironmentActor.__name__: backend.environments,  # type: ignore[dict-item]
            }
            metrics.actors_counted(
                {name: len(directory) for name, directory in directories.items()},
                {name: directory.inbox_depth() for name, directory in directories.items()},
            )

        metrics.before_render(count_actors)
        lag = LoopLagMonitor(metrics.loop_lagged)
        stack.push_async_callback(lag.close)
        lag.start()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGUSR1, log_busy_actors)

    def _announce(self) -> None:
        """Print where it listens, in one line that programs can read, and how to try it."""
        host, port = self._listening[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{port}"
        sys.stdout.write(
            f"DevPocket Server listens on {address}\n"
            f"  try it:         curl {address}/health\n"
            f"  documentation:  {address}/docs\n"
        )
        sys.stdout.flush()

    def _notice(self, environment_id: EnvironmentId, text: str) -> None:
        """Bring what a runtime says about an environment to whoever is at its terminals."""
        if self._assembly is not None:
            self._assembly.notify(environment_id, text)

    # --- stop --------------------------------------------------------------------------------------------------------

    async def _stop(self, assembly: Assembly, http: HTTPServer) -> None:
        """In tiers: not ready, no new connections, sockets told, work handed over, terminals detached, all written.

        Other processes wait for what is handed over and nobody for the ends of terminals, of which there may be many.
        """
        log.info("stopping")
        settings = self._settings.server
        budget_s = settings.shutdown_timeout_s
        end_process_after(settings.shutdown_notice_s + budget_s)
        assembly.backend.health.accepting = False
        await asyncio.sleep(settings.shutdown_notice_s)
        http.stop()
        self._sockets.tell_all(GOING_AWAY, "Server restarts", RECONNECT)
        handing_over = asyncio.create_task(assembly.supervisor.stop(budget_s / 4), name="hand over")
        await asyncio.wait([handing_over], timeout=budget_s / 4)
        cut, *_ = await asyncio.gather(
            self._sockets.disconnect_all(budget_s / 8),
            self._sockets.detach_all(budget_s / 4),
            end_records(assembly.ports, budget_s / 4),
            handing_over,
        )
        if cut:
            log.info("clients cut off that did not listen", count=cut)
        await self._end_the_rest(assembly, http, budget_s / 8)
        log.info("stopped")

    async def _end_the_rest(self, assembly: Assembly, http: HTTPServer, deadline_s: float) -> None:
        """What may be cut off: background work and requests."""
        await assembly.background.close(grace_s=deadline_s)
        try:
            async with asyncio.timeout(deadline_s):
                await http.close_all_connections()
        except TimeoutError:
            log.warning("connections cut off")


async def end_records(ports: Ports, deadline_s: float) -> None:
    """Write down that the terminals of this process were closed, as far as that can be done in time."""
    try:
        async with asyncio.timeout(deadline_s):
            await end_all(ports)
    except (UnavailableError, TimeoutError):
        log.warning("records of terminals are left to a sweep")


def prepare_data_dir(data_dir: Path) -> None:
    """Make the folder, for its owner alone; ConfigurationError when that cannot be."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(data_dir, os.W_OK | os.X_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        raise ConfigurationError(f"DATA_DIR: {data_dir} cannot be used: {error.strerror or error}") from error


async def claim_data_dir(data_dir: Path, store: Store) -> bool:
    """Tell whether the folder belongs to this store's installation; a new one is marked as such.

    Environments without a document are removed only where that is so: a server that was pointed at another database
    must not take the homes of the first one for rubbish.
    """
    installation = await shared_value(store, "installation_id", new_id)
    mark = data_dir / "installation"
    found = await asyncio.to_thread(_read_or_write, mark, installation)
    if found == installation:
        return True
    log.warning("this data folder belongs to another database; environments without a document are left alone")
    return False


def _read_or_write(mark: Path, installation: str) -> str:
    """Return what the mark says, ``installation`` if this process made it.

    Nobody sees a mark without its text, because it gets its name when it is whole: link(2) makes it or fails.
    """
    with NamedTemporaryFile(mode="w", encoding="ascii", dir=mark.parent, prefix=f"{mark.name}-") as written:
        written.write(installation)
        written.flush()
        os.fsync(written.fileno())
        try:
            os.link(written.name, mark)
        except FileExistsError:
            return mark.read_text(encoding="ascii").strip()
    return installation


def _message_names(actor_class: type) -> list[str]:
    return [message.__name__ for message in handler_table(actor_class)]


def log_busy_actors() -> None:
    """Write one line for each actor that is handling a message now."""
    busy = busy_actors()
    log.info("busy actors", count=len(busy))
    for actor in busy:
        log.info("busy actor", actor=str(actor))
