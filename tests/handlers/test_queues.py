"""The two queues between a socket and its environment: in order, and bounded."""

import asyncio
from datetime import UTC, datetime

import pytest

from devpocket.domain.events import EnvironmentEvent, EventKind
from devpocket.ids import EnvironmentId
from handlers.event_queue import MAX_BYTES, MAX_EVENTS, EventQueue
from handlers.input_queue import InputQueue


def event(number: int, text: str = "") -> EnvironmentEvent:
    data = {"number": number, "data": text}
    return EnvironmentEvent(EnvironmentId("e"), EventKind.LOG, datetime.now(UTC), data)


async def test_input_comes_out_in_order_and_whole() -> None:
    queue = InputQueue()
    for part in ("a", "bc", "déf"):
        await queue.put(part.encode())
    assert await queue.take(100) == "abcdéf".encode()


async def test_a_taker_waits_for_input() -> None:
    queue = InputQueue()
    taking = asyncio.create_task(queue.take(10))
    await asyncio.sleep(0)
    assert not taking.done()
    await queue.put(b"x")
    assert await taking == b"x"


async def test_a_full_queue_makes_its_writer_wait_and_loses_nothing() -> None:
    queue = InputQueue(high_bytes=4)
    await queue.put(b"12345")
    waiting = asyncio.create_task(queue.put(b"6"))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await queue.take(100) == b"12345"
    await waiting
    assert await queue.take(100) == b"6"


async def test_a_cancelled_writer_adds_nothing() -> None:
    queue = InputQueue(high_bytes=1)
    await queue.put(b"1")
    waiting = asyncio.create_task(queue.put(b"2"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await queue.take(10) == b"1"
    assert len(queue) == 0


async def test_clearing_lets_waiting_writers_go_on() -> None:
    queue = InputQueue(high_bytes=1)
    await queue.put(b"1")
    waiting = asyncio.create_task(queue.put(b"2"))
    await asyncio.sleep(0)
    queue.clear()
    await waiting
    assert await queue.take(10) == b"2"


async def test_a_closed_queue_takes_nothing_and_holds_nobody_up() -> None:
    queue = InputQueue(high_bytes=1)
    await queue.put(b"1")
    waiting = asyncio.create_task(queue.put(b"2"))
    await asyncio.sleep(0)
    queue.close()
    await waiting
    await queue.put(b"3")
    assert len(queue) == 0


async def test_no_character_is_cut() -> None:
    text = "aé€😀" * 50
    queue, pieces = InputQueue(), []
    await queue.put(text.encode())
    while len(queue):
        pieces.append((await queue.take(5)).decode())
    assert "".join(pieces) == text
    assert max(len(piece.encode()) for piece in pieces) <= 5


async def test_events_come_in_order() -> None:
    queue = EventQueue()
    for number in range(3):
        queue.put(event(number))
    assert [(await queue.get()).data["number"] for _ in range(3)] == [0, 1, 2]
    assert queue.get_nowait() is None


async def test_a_reader_waits_for_an_event() -> None:
    queue = EventQueue()
    reading = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put(event(7))
    assert (await reading).data["number"] == 7


def test_the_oldest_events_are_left_out_and_counted() -> None:
    queue = EventQueue()
    for number in range(MAX_EVENTS + 5):
        queue.put(event(number))
    first = queue.get_nowait()
    assert first is not None
    assert first.data["number"] == 5
    assert queue.take_left_out() == 5
    assert queue.take_left_out() == 0


def test_events_are_bounded_in_bytes() -> None:
    queue = EventQueue()
    for number in range(100):
        queue.put(event(number, "x" * (MAX_BYTES // 10)))
    kept = 0
    while queue.get_nowait():
        kept += 1
    assert kept <= 10
    assert queue.take_left_out() == 100 - kept
