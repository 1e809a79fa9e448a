"""Actors that come and go under load lose nothing and are never two for one key."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from actors.directory import Directory
from actors.loop import LoopActor, Message, handles

KEYS, CLIENTS, INCREMENTS = 20, 4, 50


@dataclass(frozen=True, slots=True)
class Increment(Message[int]):
    """Count one more; the reply is the count."""


class Cupboard:
    """Where counters put their state when they stop, slowly."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.alive: Counter[int] = Counter()
        self.most_alive = 0

    async def load(self, key: int) -> int:
        self.alive[key] += 1
        self.most_alive = max(self.most_alive, self.alive[key])
        await asyncio.sleep(0)
        return self.counts[key]

    async def save(self, key: int, count: int) -> None:
        await asyncio.sleep(0.001)
        self.counts[key] = count
        self.alive[key] -= 1


class Counting(LoopActor):
    """Keeps its count in memory alone while it lives."""

    def __init__(self, key: int, cupboard: Cupboard) -> None:
        super().__init__()
        self.cupboard = cupboard
        self.number = key
        self.count = 0

    async def on_start(self) -> None:
        self.count = await self.cupboard.load(self.number)

    async def on_stop(self) -> None:
        await self.cupboard.save(self.number, self.count)

    @handles(Increment)
    async def increment(self, _message: Increment) -> int:
        await asyncio.sleep(0)
        self.count += 1
        return self.count


class Dozing(Counting):
    idle_timeout_s = 0.002


@pytest.fixture
async def cupboard() -> AsyncIterator[Cupboard]:
    yield (it := Cupboard())
    assert it.most_alive == 1


async def increment_all(directory: Directory[int], pause_s: float, how: str) -> None:
    async def client(key: int) -> None:
        for _ in range(INCREMENTS):
            if how == "ask":
                await directory.ask(key, Increment())
            else:
                directory.tell(key, Increment())
            await asyncio.sleep(random.random() * pause_s)

    async with asyncio.TaskGroup() as clients:
        for key in range(KEYS):
            for _ in range(CLIENTS):
                clients.create_task(client(key))


async def stop_every(directory: Directory[int], interval_s: float) -> None:
    while True:
        for key in range(KEYS):
            if key in directory:
                directory.get(key).order_stop()
        await asyncio.sleep(interval_s)


@pytest.mark.parametrize("how", ["ask", "tell"])
async def test_nothing_is_lost_while_actors_are_being_stopped(cupboard, how):
    directory: Directory[int] = Directory(lambda key: Counting(key, cupboard), ask_timeout_s=100)
    stopping = asyncio.create_task(stop_every(directory, 0.003))
    await increment_all(directory, 0.002, how)
    stopping.cancel()
    await directory.stop_all(deadline_s=5)
    assert cupboard.counts.total() == KEYS * CLIENTS * INCREMENTS
    assert directory.starts > 100


async def test_nothing_is_lost_while_idle_actors_retire(cupboard):
    directory: Directory[int] = Directory(lambda key: Dozing(key, cupboard))
    await increment_all(directory, 0.02, "ask")
    await directory.stop_all(deadline_s=5)
    assert cupboard.counts.total() == KEYS * CLIENTS * INCREMENTS
    assert directory.starts > KEYS
