"""A stop ends, whatever the link is doing: Python 3.11 and redis-py lose a cancel now and then."""

import asyncio
import random
import time
from contextlib import ExitStack

import pytest

from devpocket.bus.port import BucketRequest
from devpocket.bus.redis import RedisBus
from devpocket.domain.limits import BucketRule
from devpocket.ids import ProcessId
from tests.bus.conftest import eventually, redis_bus
from tests.redis_server import RedisServer

STOPS = 25
TIMEOUT_S = 0.2
RULE = BucketRule(capacity=2, refill_per_s=0.001)


async def _stop_while_busy(server: RedisServer, chance: random.Random, fault: str) -> float:
    """Return how many seconds the stop of a bus took that beats and sends all the time."""
    bus = RedisBus(server.url, ProcessId("busy"), beat_interval_s=0.002, timeout_s=TIMEOUT_S)
    await bus.start()

    async def chatter() -> None:
        while True:
            await bus.publish("chatter", {})
            await asyncio.sleep(0.001)

    talking = asyncio.create_task(chatter())
    with ExitStack() as stack:
        stack.callback(talking.cancel)
        await asyncio.sleep(chance.uniform(0, 0.01))  # another moment of its work each time
        if fault == "paused":
            stack.enter_context(server.paused())
        elif fault in ("killed", "started again"):
            server.kill()
            stack.callback(server.start)
        if fault == "started again":
            await asyncio.sleep(chance.uniform(0, 0.02))
            stack.pop_all().close()
        await asyncio.sleep(chance.uniform(0, TIMEOUT_S) if fault != "none" else 0)
        began_s = time.monotonic()
        async with asyncio.timeout(20):
            await bus.close()
        return time.monotonic() - began_s


@pytest.mark.parametrize("fault", ["none", "paused", "killed", "started again"])
async def test_a_stop_ends_at_any_moment(sick_redis, fault):
    chance = random.Random(fault)
    took_s = [await _stop_while_busy(sick_redis, chance, fault) for _ in range(STOPS)]
    assert max(took_s) < 10 * TIMEOUT_S


async def test_a_task_that_refuses_to_end_delays_a_stop_no_longer_than_said(redis, monkeypatch):
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    bus = RedisBus(redis.url, ProcessId("stubborn"), timeout_s=TIMEOUT_S)
    monkeypatch.setattr(bus, "chores", lambda: {"stubborn": stubborn()})
    await bus.start()
    runner = bus._link._runner
    assert runner
    began_s = time.monotonic()
    await bus.close()
    assert time.monotonic() - began_s < 10 * TIMEOUT_S
    released.set()
    await runner


async def test_the_link_comes_back_every_time(sick_redis):
    async with redis_bus(sick_redis, beat_interval_s=0.002, timeout_s=TIMEOUT_S) as bus:
        for _ in range(4):
            await bus.publish("chatter", {})
            sick_redis.kill()
            await eventually(lambda: bus.degraded)
            sick_redis.start()
            await eventually(lambda: not bus.degraded)


async def test_a_bus_can_be_closed_twice_and_without_a_start(redis):
    bus = RedisBus(redis.url, ProcessId("twice"))
    await bus.close()
    await bus.close()


async def test_callers_that_go_away_leave_every_connection_usable(sick_redis, key):
    async with redis_bus(sick_redis) as bus:
        chance = random.Random(1)
        for _ in range(20):
            with sick_redis.paused() if chance.random() < 0.3 else ExitStack():
                calls = [asyncio.create_task(bus.take([BucketRequest(f"{key}{n}", RULE)])) for n in range(40)]
                await asyncio.sleep(chance.uniform(0, 0.01))
                for call in calls:
                    call.cancel()
                ended, late = await asyncio.wait(calls, timeout=5)
            assert not late
            assert all(call.cancelled() or call.result() for call in ended)
        await eventually(lambda: not bus.degraded)
        taken = await asyncio.gather(*(bus.take([BucketRequest(key, RULE)]) for _ in range(200)))
        assert sum(outcome[0].allowed for outcome in taken) == RULE.capacity
        assert not bus.degraded
