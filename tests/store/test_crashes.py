"""The contract under kill -9: everything that was acknowledged is there, and nothing is half there."""

import asyncio
import sys

import pytest

from devpocket.clock import SystemClock
from devpocket.store import open_store
from devpocket.store.port import MAX_LIMIT, Document, Store


async def _all_settings(store: Store) -> dict[str, Document]:
    found: dict[str, Document] = {}
    last: Document | None = None
    while page := await store.settings.query("id", limit=MAX_LIMIT, after=last):
        found |= {document["_id"]: document for document in page}
        last = page[-1]
    return found


@pytest.mark.parametrize("acknowledgements", [1, 50, 400])
async def test_a_killed_writer_loses_nothing_that_was_acknowledged(store_url: str, acknowledgements: int) -> None:
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.writer", store_url, stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    lines = [await writer.stdout.readline() for _ in range(acknowledgements)]
    writer.kill()
    lines += (await writer.stdout.read()).splitlines()
    await writer.wait()
    acknowledged: dict[str, int] = {}
    for line in lines:
        document_id, value = line.decode().split()
        acknowledged[document_id] = int(value)

    store = open_store(store_url, SystemClock())
    await store.start()
    found = await _all_settings(store)
    await store.close()
    assert len(acknowledged) >= acknowledgements // 2
    assert {
        name: value for name, value in acknowledged.items() if name not in found or found[name]["value"] < value
    } == {}
    assert all(document["version"] == document["value"] + 1 for document in found.values())


async def test_cancelled_callers_leave_whole_documents_and_a_working_store(store: Store) -> None:
    for pauses in range(6):
        calls = [
            asyncio.create_task(store.users.insert({"_id": f"{pauses}-{number}", "email_key": f"{pauses}-{number}"}))
            for number in range(20)
        ]
        for _ in range(pauses):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    users = await store.users.query("id", limit=1000)
    assert users == [await store.users.get_by("email_key", user["email_key"]) for user in users]
    await store.users.insert({"_id": "last", "email_key": "last"})
    assert await store.users.get("last")


async def test_a_cancelled_replacement_is_made_or_not(store: Store) -> None:
    await store.settings.insert({"_id": "a", "value": 0, "same": 0})
    for value in range(1, 11):
        before = await store.settings.get("a")
        assert before is not None
        call = asyncio.create_task(store.settings.replace({**before, "value": value, "same": value}))
        for _ in range(value):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        after = await store.settings.get("a")
        assert after is not None
        assert after["value"] == after["same"]
        assert 0 <= after["version"] - before["version"] <= 2  # the one before may have been late
