import asyncio
import re
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from devpocket.domain.environments import EnvironmentPhase
from devpocket.domain.instructions import EnsureContainer
from devpocket.errors import UnavailableError
from devpocket.metrics import CONTENT_TYPE, Direction, LimitKind, LoopLagMonitor, MailOutcome, Metrics, SweepKind
from devpocket.runtime.errors import DriverError

DOCS = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"devpocket_{name}", labels)


def test_every_series_is_explained_and_every_explanation_has_its_series():
    families = {family.name for family in Metrics().registry.collect() if family.name.startswith("devpocket")}
    explained = set(re.findall(r"^\| `(devpocket\w*)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert explained == families


def test_series_of_closed_sets_are_there_before_anything_happens():
    metrics = Metrics()
    for limit in LimitKind:
        assert value(metrics, "limits_refused_total", limit=limit) == 0
    for sweep in SweepKind:
        assert value(metrics, "sweeps_total", sweep=sweep) == 0
    for phase in EnvironmentPhase:
        assert value(metrics, "environments", phase=phase) == 0
    assert value(metrics, "driver_calls_total", operation="EnsureContainer", outcome="unavailable") == 0
    assert value(metrics, "bus_degraded") == 0


def test_series_of_routes_and_actors_are_there_once_they_are_told():
    metrics = Metrics()
    metrics.prepare(routes=["/health"], actors={"UserActor": ["TakeRequest"]})
    assert value(metrics, "http_requests_total", route="/health", status="5xx") == 0
    assert value(metrics, "http_request_seconds_count", route="/health") == 0
    assert value(metrics, "actor_messages_total", actor="UserActor", message="TakeRequest", outcome="failed") == 0
    assert value(metrics, "actor_inbox_depth", actor="UserActor") == 0
    assert value(metrics, "actor_starts_total", actor="UserActor") == 0


def test_several_can_live_in_one_process():
    one, other = Metrics(), Metrics()
    one.lease_taken()
    assert (value(one, "leases_held"), value(other, "leases_held")) == (1, 0)


def test_what_is_reported_is_what_is_read():
    metrics = Metrics("1.2.3", "test")
    metrics.request_ended("/health", 204, 0.02)
    metrics.socket_opened("terminal")
    metrics.socket_opened("terminal")
    metrics.socket_closed("terminal")
    metrics.terminal_bytes(Direction.OUT, 4096)
    metrics.limit_refused(LimitKind.SIGN_IN)
    metrics.mail_ended(MailOutcome.WRITTEN)
    metrics.phase_changed(EnvironmentPhase.STOPPED, EnvironmentPhase.RUNNING)
    metrics.environments_counted({EnvironmentPhase.RUNNING: 3})
    metrics.environments_counted({EnvironmentPhase.STOPPED: 2})
    metrics.swept(SweepKind.ORPHANS, 2)
    metrics.message_ended("UserActor", "TakeRequest", 0.001, "refused")
    metrics.messages_dropped("UserActor", 3)
    metrics.actor_started("UserActor")
    metrics.actors_counted({"UserActor": 5}, {"UserActor": 7})
    assert value(metrics, "info", version="1.2.3", environment="test") == 1
    assert value(metrics, "http_requests_total", route="/health", status="2xx") == 1
    assert value(metrics, "http_request_seconds_sum", route="/health") == 0.02
    assert value(metrics, "sockets_open", kind="terminal") == 1
    assert value(metrics, "terminal_bytes_total", direction="out") == 4096
    assert value(metrics, "limits_refused_total", limit="sign_in") == 1
    assert value(metrics, "mails_total", outcome="written") == 1
    assert value(metrics, "environment_transitions_total", phase="running") == 1
    assert value(metrics, "environments", phase="running") == 0
    assert value(metrics, "environments", phase="stopped") == 2
    assert value(metrics, "swept_total", sweep="orphans") == 2
    assert value(metrics, "actor_messages_total", actor="UserActor", message="TakeRequest", outcome="refused") == 1
    assert value(metrics, "actor_messages_dropped_total", actor="UserActor") == 3
    assert value(metrics, "actor_starts_total", actor="UserActor") == 1
    assert value(metrics, "actors_alive", actor="UserActor") == 5
    assert value(metrics, "actor_inbox_depth", actor="UserActor") == 7
    metrics.actors_counted({}, {})
    assert value(metrics, "actors_alive", actor="UserActor") == 0


def test_leases_are_counted_by_how_they_came_and_went():
    metrics = Metrics()
    metrics.lease_taken()
    metrics.lease_taken(over=True)
    metrics.lease_taken()
    metrics.lease_released()
    metrics.lease_lost()
    assert value(metrics, "leases_held") == 1
    assert value(metrics, "leases_total", event="taken") == 2
    assert value(metrics, "leases_total", event="taken_over") == 1
    assert value(metrics, "leases_total", event="released") == 1
    assert value(metrics, "leases_total", event="lost") == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DriverError("The disk is full."), "refused"),
        (UnavailableError("No answer."), "unavailable"),
        (RuntimeError("a defect"), "failed"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_a_driver_call_is_counted_by_how_it_ends_and_what_it_raises_goes_on(error, outcome):
    metrics = Metrics()
    with pytest.raises(type(error)) as caught, metrics.driver_call(EnsureContainer.__name__):
        raise error
    assert caught.value is error
    assert value(metrics, "driver_calls_total", operation="EnsureContainer", outcome=outcome) == 1
    assert value(metrics, "driver_call_seconds_count", operation="EnsureContainer") == 1


def test_a_driver_call_that_ends_well_is_counted_so():
    metrics = Metrics()
    with metrics.driver_call(EnsureContainer.__name__):
        pass
    assert value(metrics, "driver_calls_total", operation="EnsureContainer", outcome="succeeded") == 1


def test_figures_that_are_looked_up_are_looked_up_when_read():
    metrics, degraded, looked = Metrics(), [False], []
    metrics.watch_bus(lambda: degraded[0])
    metrics.before_render(lambda: looked.append(1))
    assert "devpocket_bus_degraded 0.0" in metrics.render().decode()
    degraded[0] = True
    assert "devpocket_bus_degraded 1.0" in metrics.render().decode()
    assert len(looked) == 2


def test_the_text_is_prometheus_own():
    families = list(text_string_to_metric_families(Metrics().render().decode()))
    assert {"devpocket_leases_held", "process_resident_memory_bytes"} <= {family.name for family in families}
    assert CONTENT_TYPE.startswith("text/plain")


async def test_a_blocked_loop_shows_as_lag():
    lags: list[float] = []
    monitor = LoopLagMonitor(lags.append, interval_s=0.01)
    monitor.start()
    monitor.start()
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 - the defect that the monitor finds
    for _ in range(1000):
        if lags:
            break
        await asyncio.sleep(0.001)
    assert 0.05 < lags[0] < 5
    await monitor.close()
    await monitor.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "event loop lag"]
