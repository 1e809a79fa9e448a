"""The inbox: its limit, its fairness, and what it keeps alive."""

import asyncio
import gc
import itertools
import time
import weakref

import pytest

from actors.loop import InboxFullError, LoopActor
from devpocket.errors import UnavailableError
from tests.actors.samples import Call, Gate, Note, Notebook, Recall, Run, actor_of, until


async def test_over_its_limit_it_refuses_askers_and_tellers_but_never_a_stop():
    class Small(Notebook):
        inbox_limit = 3

    gate = Gate()
    ref = await Small.spawn()
    busy = ref.ask(Run(gate.pass_through), block=False)
    await gate.reached.wait()
    for number in range(3):
        ref.tell(Note(number))
    with pytest.raises(InboxFullError) as caught:
        ref.tell(Note("too many"))
    assert isinstance(caught.value, UnavailableError)
    assert caught.value.retry_after_s == 1.0
    with pytest.raises(InboxFullError):
        await ref.ask(Note("too many"), block=False)
    notes = actor_of(ref).notes
    stop = ref.stop(block=False)
    gate.open()
    assert await busy == "through"
    assert await stop is True
    assert notes == [0, 1, 2]


async def test_after_64_messages_the_loop_gets_a_turn():
    class Large(Notebook):
        inbox_limit = 10_000

    ref = await Large.spawn()
    for number in range(1000):
        ref.tell(Note(number))
    heights = []
    notes = actor_of(ref).notes
    while len(notes) < 1000:
        await asyncio.sleep(0)
        heights.append(len(notes))
    steps = [after - before for before, after in itertools.pairwise(heights)]
    assert max(steps) <= 64
    assert len(heights) >= 1000 // 64


async def test_a_fast_actor_does_not_wait_for_a_thousand_slow_ones():
    gates = [Gate() for _ in range(1000)]
    slow = [Notebook.start() for _ in gates]
    replies = [ref.ask(Run(gate.pass_through), block=False) for ref, gate in zip(slow, gates, strict=True)]
    await gates[-1].reached.wait()
    fast = await Notebook.spawn()
    begun = time.monotonic()
    assert await fast.ask(Note(1), block=False) == 1
    assert time.monotonic() - begun < 1.0
    for gate in gates:
        gate.open()
    assert await asyncio.gather(*replies) == ["through"] * 1000


async def test_a_busy_actor_survives_the_garbage_collector_without_a_ref():
    gate, outcome = Gate(), []

    async def work():
        outcome.append(await gate.pass_through())

    Notebook.start().tell(Run(work))
    await gate.reached.wait()
    gc.collect()
    gate.open()
    await until(lambda: outcome == ["through"])


async def test_an_idle_actor_survives_it_too_and_keeps_no_message():
    class Payload:
        pass

    payload = Payload()
    gone = weakref.ref(payload)
    ref = await Notebook.spawn()
    await ref.ask(Note(payload), block=False)
    await ref.ask(Call(lambda actor: actor.notes.clear()), block=False)
    del payload
    gc.collect()
    assert gone() is None
    assert await ref.ask(Recall(), block=False) == []


async def test_a_stopped_actor_is_released_though_its_ref_is_kept():
    ref = await Notebook.spawn()
    actor = weakref.ref(actor_of(ref))
    await ref.stop(block=False)
    await until(lambda: not LoopActor.running)
    gc.collect()
    assert actor() is None
    assert not ref.is_alive()
