"""Twenty environments made and deleted in a loop: no process, socket file or folder is left."""

import asyncio
from pathlib import Path

from tests.e2e.conftest import Phones
from tests.e2e.server import ServerProcess, files_naming, processes_naming, wait_until

TEMPORARY = Path("/tmp")


async def test_twenty_environments_leave_nothing(phones: Phones, server: ServerProcess):
    environment_ids = [*await asyncio.gather(*(make_and_delete(phones, 5) for _ in range(4)))]
    made = [environment_id for ids in environment_ids for environment_id in ids]
    assert len(set(made)) == 20
    wait_until(lambda: not [each for each in made if any(left_of(each, server))], "the removal of all 20")


async def make_and_delete(phones: Phones, count: int) -> list[str]:
    """Make and delete environments one after the other: some are typed into, some go before they are ready."""
    phone, made = await phones(), []
    for number in range(count):
        environment_id = str((await phone.create(f"Number {number}"))["id"])
        made.append(environment_id)
        if number % 2 == 0:
            await phone.until(environment_id, "running")
            async with phone.terminal(environment_id) as terminal:
                await terminal.run("sleep 1000 & setsid sleep 1000 & echo u$((1 + 1))p", "u2p")
        await phone.delete(environment_id)
    return made


def left_of(environment_id: str, server: ServerProcess) -> tuple[list[int], list[Path]]:
    """Return the processes and files that still name an environment."""
    return processes_naming(environment_id), files_naming(environment_id, server.data_dir, TEMPORARY)
