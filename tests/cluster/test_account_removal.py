"""A deleted account leaves nothing in the database, its count of environments included."""

from typing import Any

from tests.cluster.pairs import Pair, eventually
from tests.phone.client import Phone


def traces(pair: Pair, user_id: str) -> dict[str, list[Any]]:
    """Return every document that names the user, by collection."""
    found = {
        name: [each["_id"] for each in pair.database[name].find() if user_id in str(each)]
        for name in pair.database.list_collection_names()
    }
    return {name: ids for name, ids in found.items() if ids}


async def test_an_account_with_environments_leaves_no_trace(pair: Pair) -> None:
    async with Phone(pair.servers[0].url, username="leaver") as phone:
        await phone.sign_up()
        user_id = pair.user_id(phone)
        for _ in range(2):
            await pair.create(phone)
        assert len(pair.slots(user_id)) == 2
        await phone.call("DELETE", "/users/me")
    await eventually(lambda: not pair.environments_of(user_id), "the removal of the environments")
    await eventually(lambda: not traces(pair, user_id), "the removal of everything else")
    assert pair.database.counters.find_one({"_id": f"environments:{user_id}"}) is None
