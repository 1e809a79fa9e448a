"""Futures and their combinators, awaited on the loop."""

import asyncio
import queue
import threading
from collections.abc import Iterable

import pykka
import pytest

from actors.loop import LoopFlag, LoopFuture
from tests.actors.samples import until


async def test_awaiting_gives_the_value_as_often_as_wanted():
    future: LoopFuture[int] = LoopFuture()
    first, second = asyncio.ensure_future(_value_of(future)), asyncio.ensure_future(_value_of(future))
    await asyncio.sleep(0)
    future.set(42)
    assert list(await asyncio.gather(first, second)) == [42, 42]
    assert await future == 42
    assert future.get() == 42


async def test_awaiting_raises_the_exception_with_its_traceback_unchanged():
    future: LoopFuture[int] = LoopFuture()
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        future.set_exception()
        depth = _depth(error)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match="by zero") as caught:
            await future
    assert _depth(caught.value) <= depth + 4


async def test_an_outcome_is_set_once():
    future: LoopFuture[int] = LoopFuture()
    future.set(1)
    for again in (lambda: future.set(2), future.set_exception, lambda: future.set_get_hook(lambda _: 3)):
        with pytest.raises(queue.Full):
            again()
    assert await future == 1
    hooked: LoopFuture[int] = LoopFuture()
    hooked.set_get_hook(lambda _timeout: 3)
    with pytest.raises(queue.Full):
        hooked.set(2)


async def test_combinators_wait_for_what_they_are_made_of():
    one: LoopFuture[Iterable[int]] = LoopFuture()
    two: LoopFuture[str] = LoopFuture()
    doubled = one.map(lambda numbers: [2 * number for number in numbers])
    large = one.filter(lambda number: number > 1)
    total = one.reduce(lambda a, b: a + b, 100)
    joined = one.join(two, doubled)
    waiting = asyncio.gather(*(_value_of(future) for future in (doubled, large, total, joined)))
    await asyncio.sleep(0)
    one.set([1, 2])
    two.set("b")
    assert await waiting == [[2, 4], [2], 103, [[1, 2], "b", [2, 4]]]


async def test_a_combinator_runs_its_function_once_for_many_waiters():
    calls: list[int] = []

    def note(value: int) -> int:
        calls.append(value)
        return value

    future: LoopFuture[int] = LoopFuture()
    mapped = future.map(note)
    waiting = asyncio.gather(*(_value_of(mapped) for _ in range(5)))
    await asyncio.sleep(0)
    future.set(7)
    assert await waiting == [7] * 5
    assert await mapped == 7
    assert calls == [7]


async def test_a_combinator_passes_on_the_error_of_its_source():
    future: LoopFuture[int] = LoopFuture()
    joined = future.join(LoopFuture())
    error = KeyError("source")
    future.set_exception((KeyError, error, None))
    with pytest.raises(KeyError, match="source"):
        await joined  # though the second never comes
    with pytest.raises(KeyError, match="source"):
        await future.map(str)


async def test_a_hook_that_knows_only_threads_gets_one():
    hooked: LoopFuture[int] = LoopFuture()
    hooked.set_get_hook(lambda _timeout: threading.get_ident())
    here = threading.get_ident()
    there = await hooked
    assert there != here
    assert await hooked == there


async def test_a_thread_can_wait_for_what_the_loop_sets():
    future: LoopFuture[str] = LoopFuture()
    waiting = asyncio.ensure_future(asyncio.to_thread(future.get, timeout=5))
    await until(lambda: future._event is not None)
    future.set("from the loop")
    assert await waiting == "from the loop"


async def test_a_thread_that_waits_too_long_gets_a_timeout():
    future: LoopFuture[str] = LoopFuture()
    with pytest.raises(pykka.Timeout):
        await asyncio.to_thread(future.get, timeout=0.01)


async def test_the_loop_can_wait_for_what_a_thread_sets():
    future: LoopFuture[str] = LoopFuture()
    waiting = asyncio.ensure_future(_value_of(future))
    await until(lambda: future._waiters)
    await asyncio.to_thread(future.set, "from a thread")
    assert await waiting == "from a thread"


async def test_cancelled_waiters_do_not_pile_up():
    future: LoopFuture[int] = LoopFuture()
    for _ in range(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await future
    assert future._waiters == []
    future.set(1)
    assert await future == 1


async def test_a_flag_wakes_threads():
    flag = LoopFlag()
    waiting = asyncio.ensure_future(asyncio.to_thread(flag.wait, 5))
    await until(lambda: flag._event is not None)
    flag.set()
    assert await waiting is True
    assert flag.is_set()
    flag.clear()
    assert await asyncio.to_thread(flag.wait, 0.001) is False


async def _value_of(future):
    return await future


def _depth(error: BaseException) -> int:
    depth, traceback = 0, error.__traceback__
    while traceback is not None:
        depth, traceback = depth + 1, traceback.tb_next
    return depth
