"""All series, and what can be reported."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from devpocket.domain.environments import EnvironmentPhase
from devpocket.domain.instructions import Instruction
from devpocket.errors import DevPocketError, UnavailableError
from devpocket.metrics.labels import (
    CallOutcome,
    Direction,
    LeaseEvent,
    LimitKind,
    MailOutcome,
    MessageOutcome,
    OpenSocket,
    StatusClass,
    SweepKind,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_SeriesT = TypeVar("_SeriesT", Counter, Gauge)


def _with_series(family: _SeriesT, values: Iterable[str]) -> _SeriesT:
    """Return ``family`` with a series for each value of its one label."""
    for value in values:
        family.labels(value)
    return family


class Metrics:
    """All series of one process, in a registry of their own."""

    def __init__(self, version: str = "", environment: str = "") -> None:
        self.registry = CollectorRegistry()
        self._before_render: list[Callable[[], None]] = []
        self._actor_classes: set[str] = set()
        self._make_server_series(version, environment)
        self._make_environment_series()
        self._make_actor_series()

    def _make_server_series(self, version: str, environment: str) -> None:
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Info("devpocket", "Version and name of this installation.", registry=self.registry).info(
            {"version": version, "environment": environment}
        )
        self._requests = self._counter(
            "http_requests", "Answered requests by route and class of status.", ("route", "status")
        )
        self._request_seconds = self._histogram(
            "http_request_seconds", "Time from a request's first line to its answer.", ("route",)
        )
        self._sockets = self._gauge("sockets_open", "Open WebSockets.", ("kind",), OpenSocket)
        self._bytes = self._counter("terminal_bytes", "Bytes typed in and printed out.", ("direction",), Direction)
        self._limits = self._counter("limits_refused", "Requests refused or slowed by a limit.", ("limit",), LimitKind)
        self._mails = self._counter("mails", "Mails by what became of them.", ("outcome",), MailOutcome)
        self._bus_degraded = self._gauge("bus_degraded", "1 while this process counts limits by itself.")
        self._loop_lag = self._histogram(
            "event_loop_lag_seconds", "How much later than asked the event loop runs a timer."
        )

    def _make_environment_series(self) -> None:
        self._phases = self._gauge(
            "environments",
            "Environments by phase, over all processes, as of the last sweep.",
            ("phase",),
            EnvironmentPhase,
        )
        self._transitions = self._counter(
            "environment_transitions", "Phases entered, driven by this process.", ("phase",), EnvironmentPhase
        )
        self._calls = self._counter("driver_calls", "Instructions performed by the runtime.", ("operation", "outcome"))
        self._call_seconds = self._histogram(
            "driver_call_seconds", "Time of an instruction to the runtime.", ("operation",), buckets=_SLOW_BUCKETS
        )
        for instruction in Instruction.__subclasses__():
            self._call_seconds.labels(instruction.__name__)
            for outcome in CallOutcome:
                self._calls.labels(instruction.__name__, outcome)
        self._leases_held = self._gauge("leases_held", "Environments that this process drives.")
        self._leases = self._counter("leases", "What happened to leases.", ("event",), LeaseEvent)
        self._sweeps = self._counter("sweeps", "Sweeps that ended.", ("sweep",), SweepKind)
        self._swept = self._counter("swept", "Things that a sweep had to put right.", ("sweep",), SweepKind)

    def _make_actor_series(self) -> None:
        self._actors = self._gauge("actors_alive", "Actors by class.", ("actor",))
        self._inbox = self._gauge("actor_inbox_depth", "Messages that wait, by class of actor.", ("actor",))
        self._messages = self._counter(
            "actor_messages", "Messages by class of actor and message.", ("actor", "message", "outcome")
        )
        self._message_seconds = self._histogram(
            "actor_message_seconds", "Time in which a message is handled.", ("message",)
        )
        self._dropped = self._counter("actor_messages_dropped", "Messages left when an actor ended.", ("actor",))
        self._actor_starts = self._counter("actor_starts", "Actors started, first ones and successors.", ("actor",))

    # --- making series -----------------------------------------------------------------------------------------------

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = (), values: Iterable[str] = ()) -> Counter:
        return _with_series(Counter(f"devpocket_{name}", text, labels, registry=self.registry), values)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = (), values: Iterable[str] = ()) -> Gauge:
        return _with_series(Gauge(f"devpocket_{name}", text, labels, registry=self.registry), values)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = _FAST_BUCKETS
    ) -> Histogram:
        return Histogram(f"devpocket_{name}", text, labels, registry=self.registry, buckets=buckets)

    def prepare(self, *, routes: Iterable[str] = (), actors: Mapping[str, Iterable[str]] | None = None) -> None:
        """Make the series that only the composition root knows, at zero.

        ``routes`` are names of routes; ``actors`` gives for each class of actor the classes of its messages.
        """
        for route in routes:
            self._request_seconds.labels(route)
            for status in StatusClass:
                self._requests.labels(route, status)
        for actor, messages in (actors or {}).items():
            self._actor_classes.add(actor)
            self._actors.labels(actor)
            self._inbox.labels(actor)
            self._dropped.labels(actor)
            self._actor_starts.labels(actor)
            for message in messages:
                self._message_seconds.labels(message)
                for outcome in MessageOutcome:
                    self._messages.labels(actor, message, outcome)

    # --- the server --------------------------------------------------------------------------------------------------

    def request_ended(self, route: str, status: int, duration_s: float) -> None:
        """A request was answered. ``route`` is the name of the route, never the path."""
        self._requests.labels(route, f"{status // 100}xx").inc()
        self._request_seconds.labels(route).observe(duration_s)

    def socket_opened(self, kind: str) -> None:
        """A WebSocket was accepted."""
        self._sockets.labels(kind).inc()

    def socket_closed(self, kind: str) -> None:
        """It is gone."""
        self._sockets.labels(kind).dec()

    def terminal_bytes(self, direction: Direction, amount: int) -> None:
        """So many bytes went through a terminal."""
        self._bytes.labels(direction).inc(amount)

    def limit_refused(self, limit: LimitKind) -> None:
        """A limit said no."""
        self._limits.labels(limit).inc()

    def mail_ended(self, outcome: MailOutcome) -> None:
        """A mail was sent, or was not."""
        self._mails.labels(outcome).inc()

    def watch_bus(self, degraded: Callable[[], bool]) -> None:
        """Read whether the bus is degraded each time the figures are read."""
        self._bus_degraded.set_function(lambda: float(degraded()))

    def loop_lagged(self, lag_s: float) -> None:
        """The event loop was so much late."""
        self._loop_lag.observe(lag_s)

    # --- environments ------------------------------------------------------------------------------------------------

    def environments_counted(self, counts: Mapping[EnvironmentPhase, int]) -> None:
        """A sweep has counted the environments of all processes; an absent phase has none."""
        for phase in EnvironmentPhase:
            self._phases.labels(phase).set(counts.get(phase, 0))

    def phase_changed(self, _before: EnvironmentPhase, after: EnvironmentPhase) -> None:
        """An environment that this process drives has entered a phase."""
        self._transitions.labels(after).inc()

    @contextmanager
    def driver_call(self, operation: str) -> Iterator[None]:
        """Measure an instruction to the runtime, and how it ends; what is raised goes on."""
        began_s, outcome = time.perf_counter(), CallOutcome.FAILED
        try:
            yield
            outcome = CallOutcome.SUCCEEDED
        except UnavailableError:
            outcome = CallOutcome.UNAVAILABLE
            raise
        except DevPocketError:
            outcome = CallOutcome.REFUSED
            raise
        except asyncio.CancelledError:
            outcome = CallOutcome.CANCELLED
            raise
        finally:
            self._calls.labels(operation, outcome).inc()
            self._call_seconds.labels(operation).observe(time.perf_counter() - began_s)

    def lease_taken(self, *, over: bool = False) -> None:
        """This process drives one environment more; ``over``: from one that let its lease run out."""
        self._leases.labels(LeaseEvent.TAKEN_OVER if over else LeaseEvent.TAKEN).inc()
        self._leases_held.inc()

    def lease_released(self) -> None:
        """It drives one less, by its own will."""
        self._leases.labels(LeaseEvent.RELEASED).inc()
        self._leases_held.dec()

    def lease_lost(self) -> None:
        """It drives one less, because it could not renew in time."""
        self._leases.labels(LeaseEvent.LOST).inc()
        self._leases_held.dec()

    def swept(self, sweep: str, found: int) -> None:
        """A sweep (a ``SweepKind``) has ended and has put ``found`` things right."""
        self._sweeps.labels(sweep).inc()
        self._swept.labels(sweep).inc(found)

    # --- actors ------------------------------------------------------------------------------------------------------

    def message_ended(self, actor_class: str, message_class: str, duration_s: float, outcome: str) -> None:
        """An actor is done with a message."""
        self._messages.labels(actor_class, message_class, outcome).inc()
        self._message_seconds.labels(message_class).observe(duration_s)

    def messages_dropped(self, actor_class: str, count: int) -> None:
        """An actor ended and so many messages were left."""
        self._dropped.labels(actor_class).inc(count)

    def actor_started(self, actor_class: str) -> None:
        """An actor was started, for the first time under its key or after another has ended."""
        self._actor_starts.labels(actor_class).inc()

    def actors_counted(self, alive: Mapping[str, int], waiting: Mapping[str, int]) -> None:
        """So many actors of each class live, and so many messages wait for them."""
        self._actor_classes |= alive.keys() | waiting.keys()
        for actor in self._actor_classes:
            self._actors.labels(actor).set(alive.get(actor, 0))
            self._inbox.labels(actor).set(waiting.get(actor, 0))

    # --- reading -----------------------------------------------------------------------------------------------------

    def before_render(self, refresh: Callable[[], None]) -> None:
        """Call ``refresh`` each time before the figures are read: for those that are looked up, not reported."""
        self._before_render.append(refresh)

    def render(self) -> bytes:
        """Return all series in Prometheus' text format, to be sent as ``CONTENT_TYPE``."""
        for refresh in self._before_render:
            refresh()
        return generate_latest(self.registry)
