"""The contract for queries: against a model in Python, with ties, gaps and absent fields."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devpocket.store.port import Collection, Document, Key, Store

START = datetime(2026, 1, 1, tzinfo=UTC)


def _documents(seed: int, number: int) -> list[Document]:
    dice = random.Random(seed)
    return [
        {
            "_id": f"{dice.getrandbits(40):010x}",
            "version": 1,
            "user_id": dice.choice(["u", "v", "ü", None]),
            "phase": dice.choice(["running", "stopped", None]),
            "updated_at": dice.choice([None, *(START + timedelta(hours=hour) for hour in range(5))]),
        }
        for _ in range(number)
    ]


def _sort_key(document: Document, field: str) -> tuple[Any, ...]:
    value = document.get(field)
    return (value is not None, value or START, document["_id"])


async def _all_pages(collection: Collection, index: str, *equal: Key, **options: Any) -> list[Document]:
    found: list[Document] = []
    while page := await collection.query(index, *equal, **options, after=found[-1] if found else None):
        found += page
    return found


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_add_up_to_the_sorted_whole(store: Store, descending: bool, limit: int) -> None:
    documents = _documents(seed=limit, number=60)
    await store.environments.insert_many(documents)
    for user in ("u", "ü", None, "nobody"):
        expected = [document for document in documents if document["user_id"] == user]
        expected.sort(key=lambda document: _sort_key(document, "updated_at"), reverse=descending)
        found = await _all_pages(store.environments, "user_updated", user, descending=descending, limit=limit)
        assert found == expected
        assert await store.environments.count("user_updated", user) == len(expected)


async def test_walking_over_everything_by_id(store: Store) -> None:
    documents = _documents(seed=3, number=50)
    await store.environments.insert_many(documents)
    found = await _all_pages(store.environments, "id", limit=9)
    assert found == sorted(documents, key=lambda document: str(document["_id"]))


async def test_bounds_include_the_lower_and_leave_out_the_upper(store: Store) -> None:
    await store.audit.insert_many(
        [{"_id": f"{hour}", "user_id": "u", "at": START + timedelta(hours=hour)} for hour in range(5)]
    )
    between: dict[str, Any] = {"lower": START + timedelta(hours=1), "upper": START + timedelta(hours=3)}
    found = await store.audit.query("user_at", "u", **between)
    assert [document["_id"] for document in found] == ["1", "2"]
    assert await store.audit.count("user_at", "u", **between) == 2
    found = await store.audit.query("at", upper=START + timedelta(hours=2), descending=True)
    assert [document["_id"] for document in found] == ["1", "0"]
    assert await store.audit.delete_by("user_at", "u", upper=START + timedelta(hours=4)) == 4
    assert [document["_id"] for document in await store.audit.query("at")] == ["4"]


async def test_all_fields_equal_is_ordered_by_id(store: Store) -> None:
    await store.codes.insert_many(
        [{"_id": name, "user_id": "u", "purpose": "verify", "created_at": START} for name in "cab"]
    )
    found = await store.codes.query("user_purpose", "u", "verify", START)
    assert [document["_id"] for document in found] == ["a", "b", "c"]


async def test_a_unique_index_lists_only_what_carries_the_key(store: Store) -> None:
    await store.environments.insert({"_id": "1", "user_id": "u", "name_key": "b"})
    await store.environments.insert({"_id": "2", "user_id": "u", "name_key": "a"})
    await store.environments.insert({"_id": "3", "user_id": "u"})
    await store.environments.insert({"_id": "4", "user_id": "u", "name_key": None})
    found = await store.environments.query("user_name", "u")
    assert [document["_id"] for document in found] == ["2", "1"]
    assert await store.environments.count("user_name", "u") == 2
    assert await store.environments.count("user_updated", "u") == 4


async def test_booleans_select(store: Store) -> None:
    await store.environments.insert({"_id": "1", "settled": True, "updated_at": START})
    await store.environments.insert({"_id": "2", "settled": False, "updated_at": START})
    assert [document["_id"] for document in await store.environments.query("settled", False)] == ["2"]


async def test_delete_by_removes_more_than_one_batch(store: Store) -> None:
    await store.logs.insert_many([{"_id": f"{n}", "environment_id": "e", "at": START} for n in range(1201)])
    await store.logs.insert({"_id": "other", "environment_id": "f", "at": START})
    assert await store.logs.delete_by("environment_at", "e") == 1201
    assert await store.logs.delete_by("environment_at", "e") == 0
    assert await store.logs.count("id") == 1


async def test_a_query_that_no_index_answers_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match=r"no index 'user'.*user_name"):
        await store.environments.query("user", "u")
    with pytest.raises(ValueError, match="all fields of an index but the last"):
        await store.environments.query("user_phase", "u")
    with pytest.raises(ValueError, match="2 fields, 3 values"):
        await store.environments.query("user_updated", "u", START, "more")
    with pytest.raises(ValueError, match="no field left"):
        await store.environments.count("user_updated", "u", START, lower=START)
    with pytest.raises(ValueError, match="not a unique index"):
        await store.environments.get_by("user_updated", "u", START)
    with pytest.raises(ValueError, match="1 to 1000"):
        await store.environments.query("user_updated", "u", limit=0)
    with pytest.raises(ValueError, match="needs a value or a bound"):
        await store.environments.delete_by("user_updated")
    with pytest.raises(ValueError, match="time zone"):
        await store.audit.query("at", lower=datetime(2026, 1, 1))  # noqa: DTZ001 - a naive one is the point


async def test_counts_take_any_number_of_values(store: Store) -> None:
    await store.environments.insert_many(_documents(seed=1, number=40))
    running = await store.environments.count("user_phase", "u", "running")
    assert 0 < running < await store.environments.count("user_phase", "u") < await store.environments.count("id")
