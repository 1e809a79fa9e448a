"""Redis killed, started again, paused, and processes that die: nothing blocks, and all come together again."""

import asyncio
import time

import pytest
import redis.asyncio as aioredis

from devpocket.bus import make_bus
from devpocket.bus.port import BucketRequest
from devpocket.bus.redis import RedisBus
from devpocket.domain.limits import BucketRule
from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.ids import ProcessId
from devpocket.settings import BusSettings, Url
from tests.bus.conftest import eventually, redis_bus

RULE = BucketRule(capacity=2, refill_per_s=0.001)


async def test_redis_killed_and_started_again(sick_redis, key):
    async with redis_bus(sick_redis) as here, redis_bus(sick_redis) as there:
        seen_here, seen_there, gaps_here, gaps_there = [], [], [], []
        here.subscribe(lambda topic, event: seen_here.append(topic), lambda: gaps_here.append(1))
        there.subscribe(lambda topic, event: seen_there.append(topic), lambda: gaps_there.append(1))
        assert await here.hold(key, "a", limit=2)
        await here.take([BucketRequest(key, RULE, 2)])

        sick_redis.kill()
        await eventually(lambda: here.degraded and there.degraded)

        began_s = time.monotonic()
        assert [taken.allowed for taken in await here.take([BucketRequest(key, RULE, 2)])] == [True], "local, so full"
        assert [taken.allowed for taken in await here.take([BucketRequest(key, RULE)])] == [False], "local, and a limit"
        assert await here.hold(key, "b", limit=2)
        assert not await here.hold(key, "c", limit=2)
        await here.publish("while cut off", {})
        assert time.monotonic() - began_s < 0.5, "nobody waits for a Redis that is gone"
        assert seen_here == ["while cut off"]
        with pytest.raises(UnavailableError):
            await here.check()

        sick_redis.start()
        await eventually(lambda: not here.degraded and not there.degraded)
        await eventually(lambda: gaps_here and gaps_there)  # what was published meanwhile is read from the store
        await here.publish("after", {})
        await eventually(lambda: seen_there[-1:] == ["after"])
        assert not await there.hold(key, "d", limit=2), "places were put back into the empty Redis"
        assert (await there.take([BucketRequest(key, RULE, 2)]))[0].allowed


async def test_a_redis_that_answers_nothing_is_left_and_found_again(sick_redis, key):
    async with redis_bus(sick_redis, timeout_s=0.2) as bus:
        with sick_redis.paused():
            began_s = time.monotonic()
            assert (await bus.take([BucketRequest(key, RULE)]))[0].allowed
            assert time.monotonic() - began_s < 2
            await eventually(lambda: bus.degraded)
            began_s = time.monotonic()
            await asyncio.gather(*(bus.take([BucketRequest(f"{key}{number}", RULE)]) for number in range(100)))
            assert time.monotonic() - began_s < 0.2
        await eventually(lambda: not bus.degraded)


async def test_a_silent_redis_is_noticed_without_any_request(sick_redis):
    async with redis_bus(sick_redis, timeout_s=0.1) as bus:
        with sick_redis.paused():
            await eventually(lambda: bus.degraded)


async def test_starting_without_redis_works_alone_and_joins_later(sick_redis, key):
    sick_redis.kill()
    async with redis_bus(sick_redis) as bus:
        seen = []
        bus.subscribe(lambda topic, event: seen.append(topic))
        assert bus.degraded
        await bus.publish("alone", {})
        assert seen == ["alone"]
        sick_redis.start()
        await eventually(lambda: not bus.degraded)


async def test_places_of_a_process_that_died_become_free(redis, key):
    async with redis_bus(redis) as survivor:
        dead = RedisBus(redis.url, ProcessId("dead"), place_ttl_s=0.3, beat_interval_s=0.05)
        await dead.start()
        assert await dead.hold(key, "a", limit=1)
        await asyncio.sleep(0.5)  # longer than the time to live: the beat is what keeps the place
        assert not await survivor.hold(key, "b", limit=1)

        _die(dead)
        for _ in range(1000):
            if await survivor.hold(key, "b", limit=1):
                break
            await asyncio.sleep(0.005)
        else:
            pytest.fail("the place did not become free")
        await dead.close()


async def test_places_are_given_back_on_close(redis, key):
    async with redis_bus(redis) as here:
        async with redis_bus(redis) as there:
            assert await there.hold(key, "a", limit=1)
        assert await here.hold(key, "b", limit=1)


async def test_nothing_stays_in_redis(sick_redis, key):
    quick = BucketRule(capacity=1, refill_per_s=10)
    async with redis_bus(sick_redis) as bus, aioredis.Redis(port=sick_redis.port) as client:
        await bus.take([BucketRequest(f"{key}{number}", quick) for number in range(50)])
        await bus.hold(key, "a", limit=1)
        keys = await client.keys("*")
        never = -1  # PTTL's answer for a key that stays; -2 is one that has just gone
        assert never not in [await client.pttl(name) for name in keys]
        await bus.drop(key, "a")
        for _ in range(1000):
            if await client.dbsize() == 0:
                break
            await asyncio.sleep(0.005)
        else:
            pytest.fail("keys are left")


async def test_taking_costs_one_round_trip(sick_redis, key):
    async with redis_bus(sick_redis, beat_interval_s=1000) as bus, aioredis.Redis(port=sick_redis.port) as client:
        await bus.take([BucketRequest(key, RULE)])  # loads the script
        before = await client.info("commandstats")
        await bus.take([BucketRequest(f"{key}{number}", RULE) for number in range(20)])
        after = await client.info("commandstats")
        calls = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
        assert calls["cmdstat_evalsha"] == 1
        assert calls.get("cmdstat_eval", 0) == 0


async def test_databases_of_one_server_do_not_hear_each_other(redis):
    other_url = Url(str(redis.url).removesuffix("/0") + "/1")
    other = RedisBus(other_url, ProcessId("other"), beat_interval_s=0.05)
    await other.start()
    async with redis_bus(redis) as here, redis_bus(redis) as there:
        foreign, own = [], []
        other.subscribe(lambda topic, event: foreign.append(topic))
        there.subscribe(lambda topic, event: own.append(topic))
        await here.publish("mine", {})
        await eventually(lambda: own == ["mine"])
        assert foreign == []
    await other.close()


async def test_a_redis_that_takes_nothing_is_left_until_it_does(sick_redis, key):
    """Limits that are counted there now and here then, in turn, would be none."""
    async with redis_bus(sick_redis) as bus, aioredis.Redis(port=sick_redis.port) as client:
        joined = []
        bus.subscribe(lambda topic, event: None, lambda: joined.append(1))
        await client.config_set("maxmemory", 1)
        assert [taken.allowed for taken in await bus.take([BucketRequest(key, RULE, 2)])] == [True]
        failed = 0
        while failed < 4:
            failed = (await client.info("commandstats"))["cmdstat_evalsha"]["failed_calls"]
            assert bus.degraded
        assert [taken.allowed for taken in await bus.take([BucketRequest(key, RULE)])] == [False]
        assert joined == []
        await client.config_set("maxmemory", 0)
        await eventually(lambda: not bus.degraded)
        assert joined == [1]


async def test_foreign_messages_are_dropped(sick_redis):
    async with redis_bus(sick_redis) as here, redis_bus(sick_redis) as there:
        seen = []
        there.subscribe(lambda topic, event: seen.append(topic))
        async with aioredis.Redis(port=sick_redis.port) as client:
            for rubbish in (b"", b"not json", b"[]", b'{"topic": 1}', b"\xff\xfe"):
                await client.publish("{devpocket}:events:0", rubbish)
        await here.publish("after", {})
        await eventually(lambda: seen == ["after"])


async def test_an_overflow_while_cut_off_has_the_others_catch_up(sick_redis):
    async with redis_bus(sick_redis) as here, redis_bus(sick_redis) as there:
        gaps, seen = [], []
        there.subscribe(lambda topic, event: seen.append(event["number"]), lambda: gaps.append(1))
        with sick_redis.paused():
            for number in range(30):
                await here.publish("big", {"number": number, "text": "x" * 400_000})
        await eventually(lambda: 29 in seen)
        assert gaps or seen == list(range(30))


def test_a_url_that_means_nothing_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="REDIS_URL"):
        make_bus(BusSettings(redis_url=Url("redis://127.0.0.1:6379/0?socket_timeout=soon")), ProcessId("p"))


def _die(bus: RedisBus) -> None:
    """End the tasks of a bus and nothing else, as kill -9 does."""
    assert bus._link._runner is not None
    bus._link._runner.cancel()
