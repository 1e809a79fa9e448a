"""Readiness costs one look at the parts a second, whoever asks how often, and follows what happens to them."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.health import FRESH_S, Health
from actors.ports import Ports
from devpocket.errors import UnavailableError


class Part:
    """A store, runtime or bus that is asked for a sign of life."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_asked = asyncio.Event()
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.degraded = False

    async def check(self) -> Any:
        self.asked += 1
        self.is_asked.set()
        await self.answers.wait()
        if self.error is not None:
            raise self.error


class Scene:
    def __init__(self) -> None:
        self.store, self.runtime, self.bus = Part(), Part(), Part()
        self.now_s = 1000.0
        parts = SimpleNamespace(store=self.store, runtime=self.runtime, bus=self.bus)
        self.health = Health(cast("Ports", parts), lambda: self.now_s)
        self.health.accepting = True


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_many_calls_at_once_cost_one_look(scene: Scene) -> None:
    scene.store.answers.clear()
    calls = [asyncio.create_task(scene.health.ready()) for _ in range(500)]
    await scene.store.is_asked.wait()
    scene.store.answers.set()
    found = await asyncio.gather(*calls)
    assert all(each.ready for each in found)
    assert (scene.store.asked, scene.runtime.asked, scene.bus.asked) == (1, 1, 1)
    latency_ms = found[0].checks["database"].latency_ms
    assert latency_ms is not None
    assert latency_ms >= 0


async def test_a_look_lasts_for_a_second(scene: Scene) -> None:
    await scene.health.ready()
    scene.store.error = UnavailableError("The database does not answer just now.")
    scene.now_s += FRESH_S * 0.9
    assert (await scene.health.ready()).ready
    scene.now_s += FRESH_S * 0.2
    found = await scene.health.ready()
    assert not found.ready
    assert found.checks["database"].status == "unhealthy"
    assert found.checks["runtime"].status == "healthy"
    scene.store.error = None
    scene.now_s += FRESH_S
    assert (await scene.health.ready()).ready


async def test_a_caller_that_goes_away_leaves_the_look_to_the_next(scene: Scene) -> None:
    scene.store.answers.clear()
    first, second = (asyncio.create_task(scene.health.ready()) for _ in range(2))
    await scene.store.is_asked.wait()
    first.cancel()
    await asyncio.wait([first])
    scene.store.answers.set()
    assert (await second).ready
    assert scene.store.asked == 2


async def test_a_part_that_hangs_is_unhealthy_and_holds_nobody(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.health.CHECK_DEADLINE_S", 0.05)
    scene.runtime.answers.clear()
    found = await scene.health.ready()
    assert not found.ready
    assert found.checks["runtime"].status == "unhealthy"


async def test_without_its_bus_a_process_is_ready_and_says_degraded(scene: Scene) -> None:
    scene.bus.degraded = True
    found = await scene.health.ready()
    assert found.ready
    assert found.checks["bus"].status == "degraded"
    assert scene.bus.asked == 0, "it is known to be away"
    scene.bus.degraded, scene.bus.error = False, UnavailableError("Redis does not answer.")
    scene.now_s += FRESH_S
    assert (await scene.health.ready()).checks["bus"].status == "degraded"


async def test_a_stop_is_told_at_once_and_asks_nothing_more(scene: Scene) -> None:
    await scene.health.ready()
    scene.health.accepting = False
    scene.now_s += 10
    scene.store.answers.clear()
    found = await scene.health.ready()
    assert not found.ready
    assert found.checks["server"].status == "stopping"
    assert scene.store.asked == 1
