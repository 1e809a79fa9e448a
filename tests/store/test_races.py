"""The contract under concurrency: exactly what is allowed happens."""

import asyncio
from collections.abc import Awaitable, Iterable

from devpocket.store.errors import DuplicateKeyError, VersionConflictError
from devpocket.store.port import Store


async def _outcomes(calls: Iterable[Awaitable[object]]) -> tuple[list[object], list[BaseException]]:
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    return [result for result in results if not isinstance(result, BaseException)], errors


async def test_of_fifty_on_one_version_one_wins(store: Store) -> None:
    await store.environments.insert({"_id": "e"})
    won, lost = await _outcomes(
        store.environments.replace({"_id": "e", "version": 1, "by": number}) for number in range(50)
    )
    assert len(won) == 1
    assert [type(error) for error in lost] == [VersionConflictError] * 49
    assert won == [await store.environments.get("e")]


async def test_of_thirty_equal_unique_inserts_one_wins(store: Store) -> None:
    won, lost = await _outcomes(store.users.insert({"_id": f"{n}", "email_key": "a@x"}) for n in range(30))
    assert len(won) == 1
    assert {(type(error), getattr(error, "index", None)) for error in lost} == {(DuplicateKeyError, "email_key")}
    assert await store.users.count("id") == 1


async def test_fifty_reservations_against_three(store: Store) -> None:
    taken = await asyncio.gather(*(store.reserve("plan", f"environment{number}", 3) for number in range(50)))
    assert sum(taken) == 3
    members = await store.reserved("plan")
    assert members == {f"environment{number}" for number, mine in enumerate(taken) if mine}
    again = await asyncio.gather(*(store.reserve("plan", member, 3) for member in members))
    assert all(again)
    assert await store.reserved("plan") == members


async def test_reservations_and_releases_at_once_leak_nothing(store: Store) -> None:
    async def come_and_go(member: str) -> int:
        came = 0
        for _ in range(5):
            if await store.reserve("plan", member, 2):
                assert len(await store.reserved("plan")) <= 2
                came += await store.release("plan", member)
        return came

    came = await asyncio.gather(*(come_and_go(f"m{number}") for number in range(10)))
    assert sum(came) > 0
    assert await store.reserved("plan") == frozenset()


async def test_no_increment_is_lost(store: Store) -> None:
    values = await asyncio.gather(*(store.increment("attempts", ttl_s=60) for _ in range(15)))
    assert sorted(values) == list(range(1, 16))


async def test_of_twenty_owners_one_gets_the_lease(store: Store) -> None:
    leases = await asyncio.gather(*(store.acquire_lease("e", f"process{number}", 30) for number in range(20)))
    held = [lease for lease in leases if lease is not None]
    assert len(held) == 1
    assert held[0].fence == 1


async def test_of_twenty_takers_of_a_released_lease_one_gets_the_next_fence(store: Store) -> None:
    first = await store.acquire_lease("e", "first", 30)
    assert first is not None
    await store.release_lease(first)
    leases = await asyncio.gather(*(store.acquire_lease("e", f"process{number}", 30) for number in range(20)))
    assert [lease.fence for lease in leases if lease is not None] == [2]


async def test_compare_and_set_loses_no_change(store: Store) -> None:
    await store.settings.insert({"_id": "list", "items": []})

    async def add(item: int) -> None:
        while True:
            document = await store.settings.get("list")
            assert document is not None
            try:
                await store.settings.replace({**document, "items": [*document["items"], item]})
            except VersionConflictError:
                continue
            return

    await asyncio.gather(*(add(item) for item in range(20)))
    document = await store.settings.get("list")
    assert document is not None
    assert sorted(document["items"]) == list(range(20))
