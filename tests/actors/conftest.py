"""Every test of actors ends with none alive, and with no task pending."""

import asyncio
from collections.abc import AsyncIterator

import pykka
import pytest

from actors.loop import LoopActor, bind_loop, stop_all


@pytest.fixture(autouse=True)
async def no_actor_left() -> AsyncIterator[None]:
    """Stop what the test left alive, then look at what is still there."""
    yield
    report = await stop_all(deadline_s=2.0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=2.0)
    bind_loop(None)
    assert report.abandoned == ()
    assert [task for task in left if not task.done()] == []
    assert list(LoopActor.running.values()) == []
    assert pykka.ActorRegistry.get_all() == []
