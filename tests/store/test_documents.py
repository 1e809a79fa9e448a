"""The contract for single documents."""

import enum
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from devpocket.store.errors import DuplicateKeyError, MissingDocumentError, StaleFenceError, VersionConflictError
from devpocket.store.indexes import COLLECTIONS
from devpocket.store.port import Collection, Store

NOON = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)


class Colour(enum.StrEnum):
    RED = "red"


async def test_a_document_reads_back_as_it_was_written(store: Store) -> None:
    document: dict[str, Any] = {
        "_id": "a",
        "version": 7,
        "text": "Ünïcødé \0 🚀",
        "number": -(2**63),
        "float": 0.1,
        "yes": True,
        "nothing": None,
        "bytes": b"\x00\xff",
        "at": NOON,
        "list": [1, "two", [3.0, None]],
        "map": {"a.b": {"$dollar": "", "": 1}, "PATH": "/bin"},
    }
    await store.settings.insert(document)
    found = await store.settings.get("a")
    assert found == document
    assert found is not None
    assert found["at"].tzinfo is UTC
    assert [type(value) for value in found.values()] == [type(found[name]) for name in document]


async def test_dates_are_cut_to_milliseconds_and_turned_to_utc(store: Store) -> None:
    local = datetime(2026, 3, 1, 13, 0, 0, 123999, tzinfo=timezone(timedelta(hours=1)))
    await store.settings.insert({"_id": "a", "at": local, "colour": Colour.RED, "pair": (1, 2)})
    assert await store.settings.get("a") == {"_id": "a", "version": 1, "at": NOON, "colour": "red", "pair": [1, 2]}


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 3, 1, 12),  # noqa: DTZ001 - a naive one is the point
        2**63,
        float("nan"),
        float("inf"),
        "\ud800",
        {1: "a number for a name"},
        {"a\0b": 1},
        {1, 2},
        object(),
    ],
)
async def test_what_cannot_be_stored_is_refused_before_it_is_sent(store: Store, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        await store.settings.insert({"_id": "a", "value": value})
    assert await store.settings.get("a") is None


@pytest.mark.parametrize("document", [{}, {"_id": ""}, {"_id": 1}, {"_id": "a", "version": "1"}, {"_id": "a", "$x": 1}])
async def test_a_document_needs_an_id_and_a_version(store: Store, document: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        await store.settings.insert(document)


async def test_indexed_fields_hold_simple_values_and_only_rows_that_expire_expire(store: Store) -> None:
    with pytest.raises(TypeError, match="indexed"):
        await store.environments.insert({"_id": "a", "phase": ["no"]})
    with pytest.raises(TypeError, match="must be text"):
        await store.users.insert({"_id": "a", "email_key": 1})
    with pytest.raises(ValueError, match="does not expire"):
        await store.users.insert({"_id": "a", "expires_at": NOON})


async def test_changing_the_dictionary_afterwards_changes_nothing(store: Store) -> None:
    document: dict[str, Any] = {"_id": "a", "list": [1]}
    await store.settings.insert(document)
    document["list"].append(2)
    assert await store.settings.get("a") == {"_id": "a", "version": 1, "list": [1]}


async def test_a_taken_id_or_key_is_named(store: Store) -> None:
    await store.users.insert({"_id": "a", "email_key": "a@x", "username_key": "ann"})
    for document, index in (
        ({"_id": "a"}, "_id"),
        ({"_id": "b", "email_key": "a@x"}, "email_key"),
        ({"_id": "b", "email_key": "b@x", "username_key": "ann"}, "username_key"),
    ):
        with pytest.raises(DuplicateKeyError) as refused:
            await store.users.insert(document)
        assert (refused.value.collection, refused.value.index) == ("users", index)
    assert await store.users.get("b") is None


async def test_absent_keys_do_not_collide(store: Store) -> None:
    for number in range(3):
        await store.users.insert({"_id": f"none{number}", "google_id": None})
        await store.users.insert({"_id": f"absent{number}"})
    assert await store.users.count("id") == 6


async def test_a_key_of_two_fields_is_free_again_when_one_is_removed(store: Store) -> None:
    await store.environments.insert({"_id": "a", "user_id": "u", "name_key": "web"})
    await store.environments.insert({"_id": "b", "user_id": "v", "name_key": "web"})
    with pytest.raises(DuplicateKeyError, match="taken") as refused:
        await store.environments.insert({"_id": "c", "user_id": "u", "name_key": "web"})
    assert refused.value.index == "user_name"
    await store.environments.replace({"_id": "a", "version": 1, "user_id": "u"})
    await store.environments.insert({"_id": "c", "user_id": "u", "name_key": "web"})
    found = await store.environments.get_by("user_name", "u", "web")
    assert found is not None
    assert found["_id"] == "c"


async def test_replace_counts_versions_and_refuses_an_old_one(store: Store) -> None:
    await store.settings.insert({"_id": "a", "value": 1})
    first = await store.settings.get("a")
    assert first is not None
    stored = await store.settings.replace({**first, "value": 2})
    assert stored == {"_id": "a", "version": 2, "value": 2} == await store.settings.get("a")
    with pytest.raises(VersionConflictError):
        await store.settings.replace({**first, "value": 3})
    with pytest.raises(MissingDocumentError):
        await store.settings.replace({"_id": "b", "version": 1})
    assert await store.settings.get("a") == stored


async def test_a_replacement_that_takes_a_key_changes_nothing(store: Store) -> None:
    await store.users.insert({"_id": "a", "email_key": "a@x"})
    await store.users.insert({"_id": "b", "email_key": "b@x"})
    with pytest.raises(DuplicateKeyError) as refused:
        await store.users.replace({"_id": "b", "version": 1, "email_key": "a@x"})
    assert refused.value.index == "email_key"
    assert await store.users.get("b") == {"_id": "b", "version": 1, "email_key": "b@x"}
    await store.users.replace({"_id": "b", "version": 1, "email_key": "c@x"})
    assert await store.users.get_by("email_key", "b@x") is None
    assert (await store.users.get_by("email_key", "c@x") or {})["_id"] == "b"


async def test_an_old_fence_writes_nothing_even_with_the_right_version(store: Store) -> None:
    await store.environments.insert({"_id": "a"})
    by_second = await store.environments.replace({"_id": "a", "version": 1, "phase": "running"}, fence=2)
    assert by_second["fence"] == 2
    with pytest.raises(StaleFenceError):
        await store.environments.replace({**by_second, "phase": "stopped"}, fence=1)
    assert await store.environments.get("a") == by_second
    by_user = await store.environments.replace({**by_second, "desired": "stopped"})
    by_same = await store.environments.replace({**by_user, "phase": "stopped"}, fence=2)
    by_third = await store.environments.replace(by_same, fence=3)
    assert (by_third["version"], by_third["fence"], by_third["desired"]) == (5, 3, "stopped")


async def test_delete_tells_whether_there_was_one(store: Store) -> None:
    await store.settings.insert({"_id": "a"})
    assert await store.settings.delete("a") is True
    assert await store.settings.delete("a") is False
    assert await store.settings.get("a") is None
    await store.settings.insert({"_id": "a"})


async def test_insert_many_stores_what_is_not_taken(store: Store) -> None:
    await store.logs.insert_many([])
    await store.logs.insert_many([{"_id": f"{number}", "environment_id": "e", "at": NOON} for number in range(300)])
    assert await store.logs.count("environment_at", "e") == 300
    with pytest.raises(DuplicateKeyError) as refused:
        await store.logs.insert_many([{"_id": "x"}, {"_id": "7"}, {"_id": "y"}])
    assert refused.value.index == "_id"
    assert await store.logs.get("x")
    assert await store.logs.get("y")


async def test_every_row_of_the_table_is_a_collection(store: Store) -> None:
    for spec in COLLECTIONS:
        collection: Collection = getattr(store, spec.name)
        assert await collection.count("id") == 0
        assert all(index.reason for index in spec.indexes)
