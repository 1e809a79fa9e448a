"""Many creations at once, over two processes: exactly what the plan allows."""

import asyncio
import time

import httpx
import pytest

from tests.cluster.pairs import ENVIRONMENTS, Pair, eventually
from tests.phone.client import Phone, Refused


async def outcome(phone: Phone, name: str, template_id: str) -> int:
    """Try to create one, and return the status of the answer; 0 when there was none."""
    try:
        answer = await phone.call("POST", "/environments", {"name": name, "template_id": template_id})
    except Refused as refused:
        return refused.status
    except httpx.TransportError:
        return 0
    return answer.status_code


async def test_of_two_with_one_name_one_is_made(pair: Pair, phones: list[Phone]):
    template_id = await phones[0].template_id("quick")
    for name in ("Twin", "Twin 2"):
        statuses = await asyncio.gather(*(outcome(phone, name, template_id) for phone in phones))
        assert sorted(statuses) == [201, 409]
    assert len(pair.slots(pair.user_id(phones[0]))) == 2


async def test_of_fifty_at_once_the_plan_gets_its_share(pair: Pair, phones: list[Phone]):
    user_id, template_id = pair.user_id(phones[0]), await phones[0].template_id("quick")
    statuses = await asyncio.gather(
        *(outcome(phones[number % 2], f"Number {number}", template_id) for number in range(50))
    )
    assert sorted(statuses) == [201] * ENVIRONMENTS + [403] * (50 - ENVIRONMENTS)
    made = pair.environments_of(user_id)
    assert len(made) == ENVIRONMENTS
    assert pair.slots(user_id) == made
    for environment_id in made:
        await phones[0].delete(environment_id)
    await eventually(lambda: not pair.environments_of(user_id), "the deletions")
    assert pair.slots(user_id) == set()
    assert await outcome(phones[1], "Afterwards", template_id) == 201


async def test_refused_creations_keep_no_slot(pair: Pair, phones: list[Phone]):
    user_id, template_id = pair.user_id(phones[0]), await phones[0].template_id("quick")
    assert await outcome(phones[0], "Only one", template_id) == 201
    statuses = await asyncio.gather(*(outcome(phones[n % 2], "Only one", template_id) for n in range(20)))
    assert set(statuses) <= {403, 409}
    assert 409 in statuses
    assert pair.slots(user_id) == pair.environments_of(user_id)
    assert await outcome(phones[1], "Another", template_id) == 201


@pytest.mark.parametrize("delay_s", [0.0, 0.03])
async def test_a_process_killed_while_creating_leaks_no_slot(lonely: Pair, lonely_phones: list[Phone], delay_s: float):
    user_id, template_id = lonely.user_id(lonely_phones[0]), await lonely_phones[0].template_id("quick")
    creating = [asyncio.create_task(outcome(lonely_phones[0], f"Cut {n}", template_id)) for n in range(10)]
    await asyncio.sleep(delay_s)
    lonely.servers[0].kill()
    statuses = await asyncio.gather(*creating)
    await asyncio.to_thread(lonely.start, 0)
    assert statuses.count(201) <= len(lonely.environments_of(user_id)) <= ENVIRONMENTS
    abandoned = lonely.slots(user_id) - lonely.environments_of(user_id)
    long_ago_ms = int((time.time() - 3600) * 1000)
    for environment_id in [*abandoned, "0" * 24]:  # one at least, wherever the kill struck
        counters, counter = lonely.database.counters, {"_id": f"environments:{user_id}"}
        counters.update_one(counter, {"$pull": {"members": {"$regex": f"^{environment_id}"}}})
        counters.update_one(counter, {"$push": {"members": f"{environment_id}@{long_ago_ms}"}}, upsert=True)
    room = ENVIRONMENTS - len(lonely.environments_of(user_id))
    statuses = [await outcome(lonely_phones[1], f"Again {n}", template_id) for n in range(ENVIRONMENTS + 1)]
    assert statuses == [201] * room + [403] * (ENVIRONMENTS + 1 - room)
    assert lonely.slots(user_id) == lonely.environments_of(user_id)
