"""One client at one terminal: order, flow control, sizes, and coming back after a restart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from devpocket.domain.environments import EnvironmentPhase
from devpocket.domain.limits import BucketRule
from devpocket.domain.terminals import TerminalSize
from devpocket.errors import NotFoundError, UnavailableError
from handlers.terminal_session import CLEAR, FRAME_BYTES, GATHER_S, TYPED_BYTES, TerminalSession
from tests.handlers.fakes import FakeLink, FakeTerminal, environment

FAST = BucketRule(capacity=1e9, refill_per_s=1e9)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the condition is somebody else's state
            await asyncio.sleep(0.001)


@asynccontextmanager
async def session(link: FakeLink, rule: BucketRule = FAST) -> AsyncIterator[TerminalSession]:
    assert link.environment is not None
    made = TerminalSession(link, link.environment, rule)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def attached(link: FakeLink, number: int = 1) -> FakeTerminal:
    await until(lambda: len(link.terminals) >= number)
    return link.terminals[number - 1]


async def test_what_is_printed_is_sent_and_what_is_typed_arrives() -> None:
    link = FakeLink()
    async with session(link) as client:
        terminal = await attached(link)
        terminal.output.put_nowait(b"$ ")
        await client.type(b"ls\r")
        await until(lambda: link.printed == "$ " and terminal.typed == b"ls\r")


async def test_leaving_detaches_the_terminal() -> None:
    link = FakeLink()
    async with session(link):
        terminal = await attached(link)
    assert link.released == [terminal]
    assert terminal.is_closed


async def test_characters_are_never_cut() -> None:
    link, text = FakeLink(), "aé€😀"
    async with session(link):
        terminal = await attached(link)
        for byte in text.encode():
            terminal.output.put_nowait(bytes([byte]))
        await until(lambda: link.printed == text)
    assert all("\ufffd" not in message["data"] for message in link.sent)


async def test_the_first_output_goes_out_at_once_and_a_flood_is_gathered() -> None:
    link = FakeLink()
    async with session(link):
        terminal = await attached(link)
        for _ in range(200):
            terminal.output.put_nowait(b"x")
        await until(lambda: len(link.printed) == 200)
    frames = [message["data"] for message in link.sent]
    assert frames[0] == "x"
    assert len(frames) <= 5


async def test_a_frame_has_a_limit() -> None:
    link = FakeLink()
    async with session(link):
        terminal = await attached(link)
        for _ in range(8):
            terminal.output.put_nowait(b"y" * FRAME_BYTES)
        await until(lambda: len(link.printed) == 8 * FRAME_BYTES)
    assert max(len(message["data"]) for message in link.sent) <= FRAME_BYTES


async def test_a_client_that_does_not_read_stops_the_reading_of_its_terminal() -> None:
    link = FakeLink()
    async with session(link):
        terminal = await attached(link)
        link.reads.clear()
        for _ in range(50):
            terminal.output.put_nowait(b"z" * FRAME_BYTES)
        await until(lambda: terminal.reads > 0)
        await asyncio.sleep(GATHER_S * 5)
        assert terminal.reads <= 2
        link.reads.set()
        await until(lambda: len(link.printed) == 50 * FRAME_BYTES)


async def test_a_program_that_does_not_read_holds_its_typist_up_and_loses_nothing() -> None:
    link, pasted = FakeLink(), bytes(range(97, 123)) * 100_000
    async with session(link) as client:
        terminal = await attached(link)
        terminal.takes_input.clear()
        await client.type(pasted)
        held_up = asyncio.create_task(client.type(b"!"))
        await asyncio.sleep(GATHER_S)
        assert not held_up.done()
        terminal.takes_input.set()
        await held_up
        await until(lambda: len(terminal.typed) == len(pasted) + 1)
    assert terminal.typed == pasted + b"!"


async def test_typing_is_slowed_to_the_rule_and_not_cut() -> None:
    link, rule = FakeLink(), BucketRule(capacity=TYPED_BYTES, refill_per_s=TYPED_BYTES * 50)
    loop = asyncio.get_running_loop()
    async with session(link, rule) as client:
        terminal = await attached(link)
        began_s = loop.time()
        await client.type(b"p" * TYPED_BYTES * 11)
        await until(lambda: len(terminal.typed) == TYPED_BYTES * 11)
    assert loop.time() - began_s > 0.15
    assert link.slowed


async def test_a_size_that_is_not_told_is_not_made_up() -> None:
    link = FakeLink()
    async with session(link) as client:
        terminal = await attached(link)
        assert terminal.sizes == [None]
        await client.resize(TerminalSize(40, 20))
        terminal.end()
        again = await attached(link, 2)
        assert again.sizes[0] == TerminalSize(40, 20)


async def test_a_size_that_comes_early_is_remembered() -> None:
    link = FakeLink(EnvironmentPhase.INSTALLING)
    async with session(link) as client:
        await until(lambda: link.attempts == 1)
        await client.resize(TerminalSize(40, 60))
        link.environment = environment(EnvironmentPhase.RUNNING)
        client.environment_changed()
        terminal = await attached(link)
        assert terminal.sizes[0] == TerminalSize(40, 60)
        await client.resize(TerminalSize(100, 30))
        assert terminal.sizes[-1] == TerminalSize(100, 30)


async def test_a_restart_is_followed_by_another_attachment_on_a_clear_screen() -> None:
    link = FakeLink()
    async with session(link) as client:
        first = await attached(link)
        first.output.put_nowait(b"before")
        await until(lambda: link.printed == "before")
        link.environment = environment(EnvironmentPhase.STOPPING)
        first.end()
        await until(lambda: link.looks >= 1)
        link.environment = environment(EnvironmentPhase.RUNNING)
        client.environment_changed()
        second = await attached(link, 2)
        second.output.put_nowait(b"after")
        await until(lambda: link.printed == f"before{CLEAR}after")
        assert link.released == [first]


async def test_a_session_that_was_killed_inside_is_made_anew() -> None:
    link = FakeLink()
    async with session(link):
        (await attached(link)).end()
        await attached(link, 2)


async def test_a_stopped_environment_is_tried_once_and_then_waited_for() -> None:
    link = FakeLink(EnvironmentPhase.STOPPED)
    async with session(link) as client:
        await until(lambda: link.looks == 1)
        client.environment_changed()
        await until(lambda: link.looks == 2)
        assert link.attempts == 1


async def test_keys_for_an_environment_that_does_not_run_are_refused_once_in_words() -> None:
    link = FakeLink(EnvironmentPhase.STOPPED)
    async with session(link) as client:
        await until(lambda: link.looks == 1)
        for _ in range(3):
            await client.type(b"rm -rf .\r")
        assert len(link.said("info")) == 1
        link.environment = environment(EnvironmentPhase.RUNNING)
        client.environment_changed()
        terminal = await attached(link)
        await client.type(b"ls\r")
        await until(lambda: terminal.typed == b"ls\r")


async def test_a_runtime_that_does_not_answer_is_asked_again() -> None:
    link = FakeLink()
    link.refusals = [UnavailableError("The runtime does not answer.")]
    async with session(link):
        await attached(link)
    assert link.said("info") == ["The runtime does not answer."]
    assert link.attempts == 2


async def test_a_deleted_environment_ends_the_session() -> None:
    link = FakeLink()
    client = TerminalSession(link, environment(), FAST)
    running = asyncio.create_task(client.run())
    terminal = await attached(link)
    link.environment = None
    terminal.end()
    with pytest.raises(NotFoundError):
        async with asyncio.timeout(5):
            await running
    assert link.released == [terminal]


async def test_typing_into_a_terminal_that_has_ended_ends_the_attachment() -> None:
    link = FakeLink()
    async with session(link) as client:
        first = await attached(link)
        first.is_closed = True
        await client.type(b"x")
        second = await attached(link, 2)
        assert link.released[0] is first
        assert second is not first
