"""What is particular to the MongoDB adapter: outages, lost answers, indexes that drifted, the server's own sweep."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.store.errors import DuplicateKeyError, IndexMismatchError, VersionConflictError, WriteInDoubtError
from devpocket.store.indexes import COLLECTIONS
from devpocket.store.mongo import link
from devpocket.store.mongo.store import MongoStore
from devpocket.store.port import Document
from tests.mongodb import MongoServer
from tests.store.conftest import MovableClock
from tests.store.relay import Relay


@pytest.fixture
async def database(mongo_database_url: str) -> AsyncIterator[AsyncDatabase[Document]]:
    client: AsyncMongoClient[Document] = AsyncMongoClient(mongo_database_url, tz_aware=True)
    yield client.get_default_database()
    await client.close()


@pytest.fixture
async def relay(mongo_database_url: str) -> AsyncIterator[Relay]:
    port = urlsplit(mongo_database_url).port
    assert port is not None
    async with Relay.running(port) as running:
        yield running


@pytest.fixture
async def relayed(relay: Relay, mongo_database_url: str, clock: MovableClock) -> AsyncIterator[MongoStore]:
    store = MongoStore(f"mongodb://127.0.0.1:{relay.port}{urlsplit(mongo_database_url).path}", clock)
    await store.start()
    yield store
    await store.close()


async def test_starting_again_and_at_once_is_harmless(mongo_database_url: str, clock: MovableClock) -> None:
    stores = [MongoStore(mongo_database_url, clock) for _ in range(3)]
    await asyncio.gather(*(store.start() for store in stores))
    await stores[0].start()
    assert (await stores[1].inspect()).index_differences == ()
    for store in stores:
        await store.close()


async def test_an_index_with_other_options_is_an_error_that_names_each(
    mongo_database_url: str, database: AsyncDatabase[Document], clock: MovableClock
) -> None:
    await database.users.create_index([("email_key", 1)], name="email_key")
    await database.sessions.create_index([("expires_at", 1)], name="expires_at", expireAfterSeconds=60)
    store = MongoStore(mongo_database_url, clock)
    with pytest.raises(IndexMismatchError) as refused:
        await store.start()
    assert len(refused.value.differences) == 2
    assert "users.email_key: unique is False and should be True" in str(refused.value)
    assert "sessions.expires_at: expire_after_s is 60 and should be 0" in str(refused.value)
    assert "\n" not in str(refused.value)
    await store.close()


async def test_check_names_what_is_missing_and_what_is_too_many(
    mongo_database_url: str, database: AsyncDatabase[Document], clock: MovableClock
) -> None:
    store = MongoStore(mongo_database_url, clock)
    await store.start()
    await database.users.drop_index("email_key")
    await database.users.create_index([("nickname", 1)], name="nickname", unique=True)
    found = (await store.inspect()).index_differences
    assert found == ("users.email_key is missing", "users.nickname is not in the table")
    await store.close()


async def test_every_index_of_the_table_is_made(
    mongo_database_url: str, database: AsyncDatabase[Document], clock: MovableClock
) -> None:
    store = MongoStore(mongo_database_url, clock)
    await store.start()
    for spec in COLLECTIONS:
        made = await database[spec.name].index_information()
        wanted = {index.name for index in spec.indexes} | ({"expires_at"} if spec.expires else set())
        assert set(made) - {"_id_"} == wanted
        assert {name for name in made if made[name].get("unique")} == {i.name for i in spec.indexes if i.unique}
        assert made.get("expires_at", {}).get("expireAfterSeconds") == (0 if spec.expires else None)
    await store.close()


async def test_what_is_stored_carries_no_trace_of_the_adapter_for_its_readers(relayed: MongoStore) -> None:
    await relayed.settings.insert({"_id": "a"})
    assert await relayed.settings.get("a") == {"_id": "a", "version": 1}
    assert await relayed.settings.query("id") == [{"_id": "a", "version": 1}]


async def test_a_lost_answer_is_no_conflict(relayed: MongoStore, relay: Relay) -> None:
    relay.lose_answer_to(b"first-insert")
    await relayed.users.insert({"_id": "a", "email_key": "first-insert"})
    relay.lose_answer_to(b"the-change")
    stored = await relayed.users.replace({"_id": "a", "version": 1, "email_key": "the-change"})
    relay.lose_answer_to(b"some-lines")
    await relayed.logs.insert_many([{"_id": f"{number}", "text": "some-lines"} for number in range(3)])
    relay.lose_answer_to(b"the-member")
    assert await relayed.reserve("counter", "the-member", 1) is True
    relay.lose_answer_to(b"the-owner")
    lease = await relayed.acquire_lease("e", "the-owner", 30)
    assert relay.lost_answers == 5

    assert stored["version"] == 2
    assert await relayed.users.get("a") == stored
    assert await relayed.logs.count("id") == 3
    assert await relayed.reserved("counter") == {"the-member"}
    assert lease is not None
    assert lease.fence == 1


async def test_a_lost_answer_hides_no_real_conflict(relayed: MongoStore, relay: Relay) -> None:
    await relayed.users.insert({"_id": "a", "email_key": "taken-key"})
    relay.lose_answer_to(b"taken-key")
    with pytest.raises(DuplicateKeyError):
        await relayed.users.insert({"_id": "b", "email_key": "taken-key"})
    assert relay.lost_answers == 1


async def test_a_lost_answer_stays_in_doubt_once_somebody_has_built_upon_the_write(
    relayed: MongoStore, relay: Relay, mongo_database_url: str, clock: MovableClock
) -> None:
    """Nobody is refused for what their own write, or what followed from it, has made of the document."""
    other = MongoStore(mongo_database_url, clock)
    try:
        await relayed.users.insert({"_id": "a", "email_key": "a"})

        async def build() -> None:
            await other.users.replace({"_id": "a", "version": 2, "email_key": "built"})

        relay.lose_answer_to(b"the-change", build)
        with pytest.raises(WriteInDoubtError):
            await relayed.users.replace({"_id": "a", "version": 1, "email_key": "the-change"})

        async def remove() -> None:
            assert await other.users.delete("a")

        relay.lose_answer_to(b"the-last-change", remove)
        with pytest.raises(WriteInDoubtError):
            await relayed.users.replace({"_id": "a", "version": 3, "email_key": "the-last-change"})

        async def build_upon_the_new_one() -> None:
            await other.users.replace({"_id": "b", "version": 1, "email_key": "built"})

        relay.lose_answer_to(b"the-insert", build_upon_the_new_one)
        with pytest.raises(WriteInDoubtError):
            await relayed.users.insert({"_id": "b", "email_key": "the-insert"})
        assert relay.lost_answers == 3
    finally:
        await other.close()


async def test_a_lost_answer_is_a_conflict_where_another_write_came_first(
    relayed: MongoStore, relay: Relay, mongo_database_url: str, clock: MovableClock
) -> None:
    other = MongoStore(mongo_database_url, clock)
    try:
        await relayed.users.insert({"_id": "a", "email_key": "a"})
        await other.users.replace({"_id": "a", "version": 1, "email_key": "first"})
        relay.lose_answer_to(b"second")
        with pytest.raises(VersionConflictError):
            await relayed.users.replace({"_id": "a", "version": 1, "email_key": "second"})
        assert relay.lost_answers == 1
    finally:
        await other.close()


async def test_a_short_outage_is_ridden_out(relayed: MongoStore, relay: Relay) -> None:
    await relayed.settings.insert({"_id": "a"})
    await relay.cut()
    reads = [asyncio.create_task(relayed.settings.get("a")) for _ in range(5)]
    write = asyncio.create_task(relayed.settings.insert({"_id": "b"}))
    await asyncio.wait([write, *reads], timeout=0.5)
    assert not any(task.done() for task in (write, *reads))
    await relay.restore()
    assert await asyncio.gather(*reads) == [{"_id": "a", "version": 1}] * 5
    await write
    assert await relayed.settings.get("b")


async def test_a_long_outage_says_when_to_come_back(
    relayed: MongoStore, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "RIDE_OUT_S", 0.3)
    await relay.cut()
    with pytest.raises(UnavailableError) as refused:
        await relayed.settings.get("a")
    assert refused.value.retry_after_s == 5
    await relay.restore()
    monkeypatch.undo()
    assert await relayed.settings.get("a") is None


async def test_a_server_that_fails_within_is_asked_again(relayed: MongoStore) -> None:
    """As a gateway does whose own database is just started again; nothing of that kind can be had of all servers."""
    answers: list[OperationFailure | str] = [OperationFailure("its database is away", 1), "there"]

    async def ask(_: bool) -> str:
        answer = answers.pop(0)
        if isinstance(answer, OperationFailure):
            raise answer
        return answer

    assert await relayed._link.call(ask) == "there"


async def test_what_the_server_refuses_is_unavailable_too(relayed: MongoStore) -> None:
    """Whoever holds a lease, shows life or writes samples goes on over a database that is away, and so over this."""
    database = relayed._link.database
    with pytest.raises(UnavailableError, match="The database refuses") as refused:
        await relayed._link.call(lambda _: database.command("thereIsNoSuchCommand"))
    assert refused.value.retry_after_s == 5


async def test_documents_that_contradict_an_index_are_named(
    database: AsyncDatabase[Document], mongo_database_url: str, clock: MovableClock
) -> None:
    await database.users.insert_many([{"_id": each, "email_key": "ann@example.org"} for each in ("a", "b")])
    store = MongoStore(mongo_database_url, clock)
    with pytest.raises(ConfigurationError, match="the indexes of users cannot be made"):
        await store.start()
    await store.close()


async def test_an_unreachable_server_is_one_line(
    relay: Relay, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "RIDE_OUT_S", 0.3)
    await relay.cut()
    store = MongoStore(f"mongodb://127.0.0.1:{relay.port}/x?serverSelectionTimeoutMS=200", clock)
    with pytest.raises(
        ConfigurationError, match=f"does not answer just now. MongoDB at 127.0.0.1:{relay.port}"
    ) as refused:
        await store.start()
    assert "\n" not in str(refused.value)
    # PyMongo leaks the socket of a monitor that is cancelled while it connects, so it may connect first.
    await relay.restore()
    monkeypatch.undo()
    assert await store.settings.get("absent") is None  # is tried again until it has connected
    await store.close()


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    mongodb_directory: Path, clock: MovableClock
) -> None:
    server = await asyncio.to_thread(MongoServer.start, mongodb_directory)
    async with Relay.running(server.port) as relay:
        store = MongoStore(f"mongodb://127.0.0.1:{relay.port}/crash", clock)
        await store.start()
        acknowledged: dict[str, int] = {}
        writers = [asyncio.create_task(_write(store, f"writer{number}", acknowledged)) for number in range(8)]
        await _until(writers, acknowledged, 300)
        await asyncio.to_thread(server.kill)
        at_kill = len(acknowledged)
        server = await asyncio.to_thread(MongoServer.start, mongodb_directory)
        relay.target = server.port
        await _until(writers, acknowledged, at_kill + 100)
        for writer in writers:
            writer.cancel()
        results = await asyncio.gather(*writers, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}
        found = {name: await store.settings.get(name) for name in acknowledged}
        await store.close()
    await asyncio.to_thread(server.stop)
    assert [name for name, value in acknowledged.items() if (found[name] or {"value": -1})["value"] < value] == []


async def _write(store: MongoStore, name: str, acknowledged: dict[str, int]) -> None:
    number = 0
    while True:
        document: Document = {"_id": f"{name}-{number}", "version": 1, "value": 0}
        await store.settings.insert(document)
        acknowledged[document["_id"]] = 0
        await store.settings.replace({**document, "value": 1})
        acknowledged[document["_id"]] = 1
        number += 1


async def _until(writers: list[asyncio.Task[None]], acknowledged: dict[str, int], number: int) -> None:
    async with asyncio.timeout(60):
        while len(acknowledged) < number:
            failed, _ = await asyncio.wait(writers, timeout=0.01, return_when=asyncio.FIRST_COMPLETED)
            for writer in failed:
                writer.result()


@pytest.mark.slow
async def test_the_server_removes_what_has_expired_within_its_sweep(
    mongo_database_url: str, database: AsyncDatabase[Document], clock: MovableClock
) -> None:
    store = MongoStore(mongo_database_url, clock)
    await store.start()
    await store.metrics.insert({"_id": "old", "environment_id": "e", "expires_at": clock.now() - timedelta(seconds=5)})
    await store.metrics.insert({"_id": "new", "environment_id": "e", "expires_at": clock.now() + timedelta(hours=1)})
    assert await store.metrics.get("old") is None
    assert await store.metrics.count("environment_at", "e") == 1
    began = time.monotonic()
    while await database.metrics.count_documents({"_id": "old"}):
        await asyncio.sleep(0.5)
        assert time.monotonic() - began < 90
    assert await database.metrics.count_documents({}) == 1
    await store.close()
