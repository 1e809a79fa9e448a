"""Every call of Pykka's that would wait raises on the loop, and sends nothing."""

import pykka
import pytest

from actors.loop import LoopFuture, WouldBlockLoopError
from tests.actors.samples import Gate, Note, Notebook, Recall, Run

UNFINISHED: dict[str, object] = {
    "get": lambda future: future.get(),
    "get with a timeout": lambda future: future.get(timeout=1),
    "get_all": lambda future: pykka.get_all([future]),
    "map": lambda future: future.map(str).get(),
    "filter": lambda future: future.filter(bool).get(),
    "join": lambda future: future.join(future).get(),
    "reduce": lambda future: future.reduce(max).get(),
}


@pytest.fixture
async def ref():
    return await Notebook.spawn()


async def is_untouched(ref) -> bool:
    notes: list[object] = await ref.ask(Recall(), block=False)
    return notes == []


async def test_a_blocking_ask(ref):
    with pytest.raises(WouldBlockLoopError, match="ask"):
        ref.ask(Note("never"))
    assert await is_untouched(ref)


async def test_a_blocking_ask_with_a_timeout(ref):
    with pytest.raises(WouldBlockLoopError):
        ref.ask(Note("never"), timeout=1)
    assert await is_untouched(ref)


async def test_a_blocking_stop(ref):
    with pytest.raises(WouldBlockLoopError, match="stop"):
        ref.stop()
    assert await is_untouched(ref)


async def test_stop_all_of_the_registry(ref):
    with pytest.raises(WouldBlockLoopError):
        pykka.ActorRegistry.stop_all()
    assert await is_untouched(ref)


async def test_writing_an_attribute_through_a_proxy(ref):
    with pytest.raises(WouldBlockLoopError):
        ref.proxy().told_failures = 5
    assert await ref.proxy().told_failures == 0


async def test_getting_what_a_proxy_call_returns(ref):
    with pytest.raises(WouldBlockLoopError):
        ref.proxy().inspect(0.0).get()
    assert await is_untouched(ref)


async def test_waiting_for_the_stopped_flag(ref):
    with pytest.raises(WouldBlockLoopError, match="wait"):
        ref.actor_stopped.wait()
    assert await is_untouched(ref)


async def test_taking_from_the_inbox(ref):
    with pytest.raises(WouldBlockLoopError, match="inbox"):
        ref.actor_inbox.get()


@pytest.mark.parametrize("call", UNFINISHED.values(), ids=UNFINISHED.keys())
async def test_an_unfinished_future(ref, call):
    gate = Gate()
    reply = ref.ask(Run(gate.pass_through), block=False)
    with pytest.raises(WouldBlockLoopError):
        call(reply)
    gate.open()
    assert await reply == "through"
    assert reply.map(len).get() == 7  # finished, it may be got


async def test_a_hook_that_may_wait():
    hooked: LoopFuture[int] = LoopFuture()
    hooked.set_get_hook(lambda _timeout: 1)
    with pytest.raises(WouldBlockLoopError):
        hooked.get()
    assert await hooked == 1
    assert hooked.get() == 1
