"""What every bus does, over every bus."""

import asyncio

import pytest

from devpocket.bus.port import MAX_EVENT_BYTES, BucketRequest, Topic
from devpocket.domain.limits import BucketRule
from tests.bus.conftest import eventually

SLOW = BucketRule(capacity=3, refill_per_s=0.001)
FAST = BucketRule(capacity=3, refill_per_s=20)


async def test_events_reach_every_subscriber_of_every_process_in_order(buses):
    here, there = buses
    seen_here, seen_there = [], []
    here.subscribe(lambda topic, event: seen_here.append((topic, event)))
    there.subscribe(lambda topic, event: seen_there.append((topic, event)))
    published = [
        (Topic.ENVIRONMENT_CHANGED, {"environment_id": str(number), "ß": [None, 1.5]}) for number in range(200)
    ]

    for topic, event in published:
        await here.publish(topic, event)

    assert seen_here == published
    await eventually(lambda: len(seen_there) == len(published))
    assert seen_there == published


async def test_an_event_is_delivered_once_to_its_own_process(buses):
    here, there = buses
    seen, marks = [], []
    here.subscribe(lambda topic, event: seen.append(topic))
    there.subscribe(lambda topic, event: marks.append(topic))

    await here.publish("first", {})
    await there.publish("second", {})

    await eventually(lambda: "second" in seen and "first" in marks)
    assert seen == ["first", "second"]


async def test_a_closed_subscription_hears_nothing_more(buses):
    here, _ = buses
    seen = []
    subscription = here.subscribe(lambda topic, event: seen.append(topic))
    await here.publish("before", {})
    subscription.close()
    subscription.close()
    await here.publish("after", {})
    assert seen == ["before"]


async def test_a_handler_that_raises_keeps_nothing_from_the_others(buses, caplog):
    here, there = buses
    seen = []

    def broken(topic, event):
        raise RuntimeError("a defect of the handler")

    there.subscribe(broken)
    there.subscribe(lambda topic, event: seen.append(topic))
    await here.publish("one", {})
    await here.publish("two", {})
    await eventually(lambda: seen == ["one", "two"])


async def test_what_cannot_travel_is_refused_by_every_bus(buses):
    here, _ = buses
    with pytest.raises(ValueError, match="events are hints"):
        await here.publish("big", {"text": "x" * MAX_EVENT_BYTES})
    with pytest.raises(TypeError):
        await here.publish("odd", {"value": object()})


async def test_a_bucket_is_shared_and_each_request_is_served_by_itself(buses, key):
    here, there = buses
    other = f"{key}:other"
    assert [taken.allowed for taken in await here.take([BucketRequest(key, SLOW), BucketRequest(other, SLOW, 3)])] == [
        True,
        True,
    ]
    first, second = await there.take([BucketRequest(key, SLOW, 2), BucketRequest(other, SLOW)])
    assert (first.allowed, round(first.remaining)) == (True, 0)
    assert (second.allowed, round(second.remaining)) == (False, 0)
    assert second.retry_after_s == pytest.approx(1000, rel=0.01)
    assert second.reset_after_s == pytest.approx(3000, rel=0.01)


async def test_a_bucket_fills_with_time(buses, key):
    here, there = buses
    await here.take([BucketRequest(key, FAST, 3)])
    [refused] = await there.take([BucketRequest(key, FAST, 3)])
    assert not refused.allowed
    assert 0 < refused.retry_after_s <= 0.15

    for _ in range(1000):
        [outcome] = await there.take([BucketRequest(key, FAST, 3)])
        if outcome.allowed:
            break
        await asyncio.sleep(0.005)
    else:
        pytest.fail("the bucket did not fill")


async def test_parallel_takers_get_no_more_than_there_is(buses, key):
    here, there = buses
    rule = BucketRule(capacity=10, refill_per_s=0.001)
    outcomes = await asyncio.gather(*(bus.take([BucketRequest(key, rule)]) for bus in (here, there) for _ in range(25)))
    assert sum(taken.allowed for [taken] in outcomes) == 10


async def test_amounts_that_no_bucket_holds_are_a_mistake(buses, key):
    here, _ = buses
    with pytest.raises(ValueError, match="cannot take"):
        await here.take([BucketRequest(key, SLOW, 4)])
    assert await here.take([]) == []


async def test_places_are_counted_over_processes_and_given_back(buses, key):
    here, there = buses
    assert await here.hold(key, "a", limit=2)
    assert await there.hold(key, "b", limit=2)
    assert not await here.hold(key, "c", limit=2)
    assert await here.hold(key, "a", limit=2), "who holds a place keeps it"

    await there.drop(key, "b")
    await there.drop(key, "b")
    await there.drop(key, "never held")
    assert await here.hold(key, "c", limit=2)


async def test_parallel_holders_get_no_more_than_there_is(buses, key):
    here, there = buses
    held = await asyncio.gather(
        *(
            bus.hold(key, f"{number}-{place}", limit=10)
            for number, bus in enumerate((here, there))
            for place in range(25)
        )
    )
    assert sum(held) == 10


async def test_a_bus_says_what_it_is(buses):
    here, _ = buses
    health = await here.check()
    assert health.name in ("memory", "redis")
    assert 0 <= health.latency_s < 1
    assert not health.degraded
    assert not here.degraded


async def test_closing_twice_is_closing_once(buses):
    here, _ = buses
    await here.close()
    await here.close()
