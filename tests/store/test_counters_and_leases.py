"""The contract for slots, windows and leases."""

import asyncio
from datetime import timedelta

import pytest

from devpocket.store.port import Lease, Store
from tests.store.conftest import MovableClock


async def _acquired(store: Store, owner: str) -> Lease:
    lease = await store.acquire_lease("e", owner, 15)
    assert lease is not None
    return lease


async def test_slots_are_taken_once_per_member_and_given_back_once(store: Store) -> None:
    assert [await store.reserve("c", member, 2) for member in ("a", "b", "c", "a")] == [True, True, False, True]
    assert await store.release("c", "nobody") is False
    assert await store.release("c", "a") is True
    assert await store.release("c", "a") is False
    assert await store.reserve("c", "c", 2) is True
    assert await store.reserved("c") == {"b", "c"}
    assert await store.reserved("other") == frozenset()


async def test_a_lower_limit_takes_nothing_away_but_lets_nobody_in(store: Store) -> None:
    for member in ("a", "b", "c"):
        assert await store.reserve("c", member, 3)
    assert await store.reserve("c", "d", 1) is False
    assert await store.reserve("c", "b", 1) is True
    assert await store.reserve("c", "d", 0) is False
    assert await store.reserve("c", "d", -1) is False
    assert len(await store.reserved("c")) == 3


async def test_an_empty_counter_leaves_no_document(store: Store) -> None:
    await store.reserve("c", "a", 1)
    await store.release("c", "a")
    assert await store.counters.count("id") == 0


async def test_the_last_members_that_go_at_once_leave_no_document(store: Store) -> None:
    for _ in range(10):
        for member in ("a", "b", "c"):
            await store.reserve("c", member, 3)
        assert await asyncio.gather(*(store.release("c", member) for member in ("a", "b", "c"))) == [True] * 3
        assert await store.release("c", "a") is False
        assert await store.counters.count("id") == 0


async def test_a_counter_tells_when_a_slot_was_taken_last(store: Store, clock: MovableClock) -> None:
    for member in ("a", "b"):
        clock.advance(10)
        await store.reserve("c", member, 2)
    clock.advance(10)
    assert await store.reserve("c", "d", 2) is False
    await store.release("c", "a")
    now = clock.now()
    (found,) = await store.counters.query("taken_at", lower=now - timedelta(seconds=15), upper=now)
    assert (found["_id"], found["members"]) == ("c", ["b"])
    assert now - timedelta(seconds=11) < found["taken_at"] < now - timedelta(seconds=9)


async def test_a_window_starts_with_the_first_increment_and_is_not_prolonged(store: Store, clock: MovableClock) -> None:
    assert await store.window("k") is None
    assert await store.increment("k", ttl_s=60) == 1
    first = await store.window("k")
    clock.advance(40)
    assert await store.increment("k", ttl_s=60, amount=4) == 5
    second = await store.window("k")
    assert first is not None
    assert second is not None
    assert (second.value, second.ends_at) == (5, first.ends_at)
    clock.advance(21)
    assert await store.window("k") is None
    assert await store.increment("k", ttl_s=60) == 1


async def test_reset_ends_a_window(store: Store) -> None:
    await store.increment("k", ttl_s=60)
    assert await store.reset("k") is True
    assert await store.reset("k") is False
    assert await store.increment("k", ttl_s=60) == 1


async def test_a_held_lease_is_its_owners_alone(store: Store, clock: MovableClock) -> None:
    lease = await _acquired(store, "p")
    assert lease.fence == 1
    assert timedelta(seconds=14) < lease.held_until - clock.now() <= timedelta(seconds=15)
    assert await store.acquire_lease("e", "q", 15) is None
    again = await _acquired(store, "p")
    assert again.fence == 1
    assert await store.live_leases(["e", "other"]) == {"e": again}


async def test_renewing_moves_the_end(store: Store, clock: MovableClock) -> None:
    lease = await _acquired(store, "p")
    clock.advance(10)
    renewed = await store.renew_lease(lease, 15)
    assert renewed is not None
    assert renewed.fence == lease.fence
    clock.advance(10)
    assert await store.acquire_lease("e", "q", 15) is None
    assert await store.renew_lease(lease, 15)


async def test_a_lease_that_ran_out_is_lost_for_good(store: Store, clock: MovableClock) -> None:
    lease = await _acquired(store, "p")
    clock.advance(15)
    assert await store.renew_lease(lease, 15) is None
    assert await store.live_leases(["e"]) == {}
    assert [expired.id for expired in await store.expired_leases()] == ["e"]
    taken = await _acquired(store, "q")
    assert (taken.fence, taken.is_inherited) == (2, True)
    assert await store.renew_lease(lease, 15) is None
    assert await store.release_lease(lease) is False
    assert await store.forget_lease(lease) is False
    assert await store.live_leases(["e"]) == {"e": taken}
    assert await store.expired_leases() == []


async def test_the_fence_grows_when_the_same_owner_comes_back_after_the_end(store: Store, clock: MovableClock) -> None:
    await _acquired(store, "p")
    clock.advance(16)
    assert (await _acquired(store, "p")).fence == 2


async def test_a_released_lease_is_free_at_once_and_its_fence_goes_on(store: Store, clock: MovableClock) -> None:
    assert await store.release_lease(await _acquired(store, "p")) is True
    assert await store.live_leases(["e"]) == {}
    clock.advance(365 * 86400)
    assert await store.expired_leases() == []
    taken = await _acquired(store, "q")
    assert (taken.fence, taken.is_inherited) == (2, False)


async def test_a_lease_released_unfinished_is_found_until_somebody_takes_it(store: Store, clock: MovableClock) -> None:
    lease = await _acquired(store, "p")
    assert await store.release_lease(lease, unfinished=True) is True
    assert await store.live_leases(["e"]) == {}
    assert await store.renew_lease(lease, 15) is None
    clock.advance(-60)  # the next owner's clock may be behind
    assert [(found.id, found.owner, found.fence) for found in await store.expired_leases()] == [("e", "", 1)]
    taken = await _acquired(store, "q")
    assert (taken.fence, taken.is_inherited) == (2, False)
    assert await store.expired_leases() == []


async def test_forgetting_a_lease_leaves_no_document(store: Store) -> None:
    lease = await _acquired(store, "p")
    assert await store.forget_lease(lease) is True
    assert await store.forget_lease(lease) is False
    assert await store.leases.count("id") == 0  # type: ignore[attr-defined]


async def test_expired_leases_come_oldest_first_and_bounded(store: Store, clock: MovableClock) -> None:
    for name in ("a", "b", "c"):
        await store.acquire_lease(name, "p", 15)
        clock.advance(1)
    clock.advance(20)
    assert [lease.id for lease in await store.expired_leases(limit=2)] == ["a", "b"]
    with pytest.raises(ValueError, match="1000"):
        await store.live_leases(["x"] * 1001)
