"""What a process keeps by itself stays bounded."""

import asyncio

from devpocket.bus.local import LocalBuckets, LocalPlaces
from devpocket.bus.outbox import Outbox
from devpocket.bus.port import BucketRequest
from devpocket.domain.limits import BucketRule

RULE = BucketRule(capacity=2, refill_per_s=1)


def test_full_buckets_are_forgotten():
    now = [0.0]
    buckets = LocalBuckets(lambda: now[0])
    for number in range(100):
        buckets.take([BucketRequest(str(number), RULE)])
    assert len(buckets) == 100
    now[0] = 10
    for _ in range(20):
        buckets.take([BucketRequest("one", RULE)])
    assert len(buckets) == 1


def test_a_flood_of_keys_stays_within_the_limit_and_keeps_the_newest():
    buckets = LocalBuckets(lambda: 0.0, limit=50)
    buckets.take([BucketRequest("first", RULE, 2)])
    for number in range(500):
        buckets.take([BucketRequest(str(number), RULE, 2)])
    assert len(buckets) == 50
    assert not buckets.take([BucketRequest("499", RULE)])[0].allowed
    assert buckets.take([BucketRequest("first", RULE)])[0].allowed


def test_places_leave_nothing_behind():
    places = LocalPlaces()
    for number in range(100):
        assert places.hold("user", str(number))
    assert not places.hold("user", "one more", limit=100)
    for number in range(100):
        assert places.drop("user", str(number))
    assert places.held() == []


async def test_the_outbox_drops_the_oldest_and_remembers_that_it_did():
    outbox = Outbox(limit_bytes=10)
    for letter in (b"aaaa", b"bbbb", b"cccc"):
        outbox.put(letter)
    assert outbox.overflowed
    assert await outbox.first(5) == [b"bbbb", b"cccc"]


async def test_what_overflowed_while_it_was_being_sent_is_not_removed_twice():
    outbox = Outbox(limit_bytes=8)
    outbox.put(b"aaaa")
    sent = await outbox.first(5)
    outbox.put(b"bbbb")
    outbox.put(b"cccc")
    outbox.remove(sent)
    assert outbox.waiting() == [b"bbbb", b"cccc"]


async def test_waiting_for_an_event_ends_when_there_is_one():
    outbox = Outbox()
    waiting = asyncio.create_task(outbox.first(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.put(b"a")
    assert await waiting == [b"a"]
