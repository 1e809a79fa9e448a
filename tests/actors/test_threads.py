"""Other threads may start, tell, ask and stop actors of the loop."""

import asyncio
import threading

import pykka
import pytest

from actors.loop import ActorDeadError, NoLoopError, bind_loop
from tests.actors.samples import Note, Notebook, Recall, until


async def test_tells_of_a_thread_arrive_in_order():
    ref = await Notebook.spawn()

    def tell() -> None:
        for number in range(100):
            ref.tell(Note(number))

    await asyncio.to_thread(tell)
    assert await ref.ask(Recall(), block=False) == list(range(100))


async def test_a_thread_may_block_on_an_ask_and_on_a_stop():
    ref = await Notebook.spawn()
    assert await asyncio.to_thread(ref.ask, Note("a"), block=True, timeout=5) == 1
    assert await asyncio.to_thread(ref.stop, block=True, timeout=5) is True
    assert not ref.is_alive()


async def test_a_thread_gets_the_handlers_exception():
    ref = await Notebook.spawn()
    with pytest.raises(AttributeError):
        await asyncio.to_thread(lambda: ref.proxy().nothing.get(timeout=5))


async def test_a_thread_starts_actors_on_the_bound_loop():
    bind_loop(asyncio.get_running_loop())
    ref = await asyncio.to_thread(Notebook.start)
    assert await ref.ask(Note("a"), block=False) == 1


async def test_without_a_bound_loop_a_thread_starts_nothing():
    with pytest.raises(NoLoopError):
        await asyncio.to_thread(Notebook.start)


async def test_a_message_from_a_thread_to_a_full_inbox_is_logged_and_dropped(caplog):
    class Small(Notebook):
        inbox_limit = 2

    ref = await Small.spawn()

    told = threading.Event()

    def tell() -> None:
        for number in range(3):
            ref.tell(Note(number))
        told.set()

    telling = threading.Thread(target=tell)
    telling.start()
    assert told.wait(5)  # holds up the loop on purpose, so that all three meet an actor that has taken none
    telling.join()
    await until(lambda: any("Dropped Note from another thread" in message for message in caplog.messages))
    assert await ref.ask(Recall(), block=False) == [0, 1]


async def test_an_ask_from_a_thread_to_an_actor_that_is_ending_is_answered():
    ref = await Notebook.spawn()
    ref.order_stop()
    with pytest.raises(ActorDeadError):
        await asyncio.to_thread(ref.ask, Note("late"), block=True, timeout=5)
    await until(lambda: not ref.is_alive())


def test_on_a_closed_loop_an_actor_is_dead():
    loop = asyncio.new_event_loop()
    bind_loop(loop)
    ref = Notebook.start()
    assert ref.is_alive()
    loop.close()
    assert not ref.is_alive()
    with pytest.raises(ActorDeadError):
        ref.tell(Note("nobody"))
    with pytest.raises(ActorDeadError):
        ref.ask(Note("nobody"), timeout=1)
    assert ref.stop(timeout=1) is False
    with pytest.raises(NoLoopError):
        Notebook.start()
    pykka.ActorRegistry.unregister(ref)
