"""One live actor per key: found, started, restarted, and never two at once."""

import asyncio

import pytest

from actors.directory import Directory
from actors.loop import ActorDeadlockError, ActorGoneError, ActorInterruptedError, ActorStartError, InboxFullError
from devpocket.errors import NotFoundError, UnavailableError
from tests.actors.samples import Call, Fail, Gate, Note, Notebook, Recall, Run, until


@pytest.fixture
def directory() -> Directory[str]:
    return Directory(Notebook)


async def test_ask_and_tell_start_the_actor_once(directory):
    directory.tell("a", Note(1))
    assert await directory.ask("a", Note(2)) == 2
    assert await directory.ask("b", Recall()) == []
    assert directory.get("a") is directory.get("a")
    assert sorted(directory.keys()) == ["a", "b"]
    assert (len(directory), directory.starts, "a" in directory, "c" in directory) == (2, 2, True, False)


async def test_a_factory_gets_the_key():
    class Named(Notebook):
        def __init__(self, name: str, greeting: str) -> None:
            super().__init__()
            self.notes = [greeting + name]

    directory: Directory[str] = Directory(lambda key: Named(key, "hello "))
    assert await directory.ask("ada", Recall()) == ["hello ada"]
    assert directory.get("ada").task.get_name() == "Named (ada)"


async def test_tell_if_alive_starts_nobody(directory):
    assert directory.tell_if_alive("a", Note(1)) is False
    await directory.ask("a", Note(1))
    assert directory.tell_if_alive("a", Note(2)) is True
    assert await directory.ask("a", Recall()) == [1, 2]
    directory.get("a").order_stop()
    assert directory.tell_if_alive("a", Note(3)) is False


async def test_stop_waits_for_on_stop_and_the_next_message_starts_a_successor(directory):
    events = await directory.ask("a", Call(lambda actor: actor.events))
    assert await directory.stop("a") is True
    assert events == ["start", "stop"]
    assert await directory.stop("a") is False
    assert len(directory) == 0
    assert await directory.ask("a", Note(1)) == 1
    assert directory.starts == 2


async def test_a_reply_that_does_not_come_in_time_is_unavailable_and_the_work_goes_on(directory):
    gate = Gate()

    async def work():
        await gate.pass_through()

    with pytest.raises(UnavailableError) as caught:
        await directory.ask("a", Run(work), timeout=0.001)
    assert caught.value.code == "timeout"
    assert caught.value.detail == "Run to a: no reply within 0.001 s"
    gate.open()
    assert await directory.ask("a", Note(1)) == 1


async def test_there_is_always_a_limit():
    directory: Directory[str] = Directory(Notebook, ask_timeout_s=0.001)
    gate = Gate()
    with pytest.raises(UnavailableError):
        await directory.ask("a", Run(gate.pass_through))
    gate.open()


async def test_the_handlers_own_timeout_is_not_taken_for_ours(directory):
    with pytest.raises(TimeoutError, match="the handler's"):
        await directory.ask("a", Fail(TimeoutError("the handler's")))


async def test_what_waits_when_the_actor_dies_goes_to_its_successor(directory):
    gate = Gate()
    busy = asyncio.ensure_future(directory.ask("a", Run(gate.pass_through)))
    await gate.reached.wait()
    waiting = [asyncio.ensure_future(directory.ask("a", Note(number))) for number in range(5)]
    await asyncio.sleep(0)
    directory.get("a").task.cancel()
    with pytest.raises(ActorInterruptedError):
        await busy  # its outcome is unknown, so it is not sent again
    assert await asyncio.gather(*waiting) == [1, 2, 3, 4, 5]
    assert directory.starts == 2


async def test_messages_behind_a_stop_go_to_the_successor_in_order(directory):
    gate = Gate()
    busy = asyncio.ensure_future(directory.ask("a", Run(gate.pass_through)))
    await gate.reached.wait()
    stopping = asyncio.ensure_future(directory.stop("a"))
    await asyncio.sleep(0)
    for number in range(5):
        directory.tell("a", Note(number))
    asked = asyncio.ensure_future(directory.ask("a", Recall()))
    gate.open()
    assert await busy == "through"
    assert await stopping is True
    assert await asked == [0, 1, 2, 3, 4]


async def test_a_successor_starts_when_its_predecessor_has_ended():
    gate, order = Gate(), []

    class Leased(Notebook):
        def on_start(self):
            order.append("taken")

        async def on_stop(self):
            await gate.pass_through()
            order.append("given up")

    directory: Directory[str] = Directory(Leased)
    await directory.ask("a", Note(1))
    stopping = asyncio.ensure_future(directory.stop("a"))
    await gate.reached.wait()
    asked = asyncio.ensure_future(directory.ask("a", Note(2)))
    await asyncio.sleep(0)
    directory.get("a").task.cancel()  # the second, still waiting: the third has to wait for the first all the same
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["taken"]
    gate.open()
    assert await stopping is True
    assert await asked == 1
    assert order == ["taken", "given up", "taken"]


async def test_a_failing_on_start_reaches_the_asker_and_is_tried_anew_with_the_next_ask():
    failures = [NotFoundError("There is no such environment."), None]
    directory: Directory[str] = Directory(lambda key: Notebook(key, failures.pop(0)))
    with pytest.raises(NotFoundError, match="no such environment"):
        await directory.ask("a", Note(1))
    assert await directory.ask("a", Note(1)) == 1
    assert directory.starts == 2


@pytest.mark.parametrize(
    "error", [ActorGoneError("other", "urn:other"), ActorStartError("other", "urn:other", KeyError())]
)
async def test_a_dead_actor_that_the_handler_met_is_not_taken_for_the_one_asked(directory, error):
    with pytest.raises(type(error)) as caught:
        await directory.ask("a", Fail(error))
    assert caught.value is error
    assert directory.starts == 1


async def test_a_full_inbox_is_unavailable():
    class Small(Notebook):
        inbox_limit = 1

    gate = Gate()
    directory: Directory[str] = Directory(Small)
    busy = asyncio.ensure_future(directory.ask("a", Run(gate.pass_through)))
    await gate.reached.wait()
    directory.tell("a", Note(1))
    assert directory.inbox_depth() == 1
    with pytest.raises(InboxFullError):
        directory.tell("a", Note(2))
    with pytest.raises(UnavailableError):
        await directory.ask("a", Note(2))
    gate.open()
    assert await busy == "through"


async def test_a_deadlock_is_found_through_directories_too(directory):
    other: Directory[str] = Directory(Notebook)
    with pytest.raises(ActorDeadlockError, match=r"Notebook \(b\) -> Notebook \(a\) -> Notebook \(b\)"):
        await directory.ask("a", Run(lambda: other.ask("b", Run(lambda: directory.ask("a", Note(1))))))


async def test_busy_tells_of_this_directory_alone(directory):
    gate = Gate()
    other: Directory[str] = Directory(Notebook)
    asked = [asyncio.ensure_future(d.ask(k, Run(gate.pass_through))) for d, k in ((directory, "a"), (other, "b"))]
    await until(lambda: len(directory.busy()) == 1)
    assert [(busy.key, busy.message_class) for busy in directory.busy()] == [("a", "Run")]
    gate.open()
    await asyncio.gather(*asked)


async def test_a_stop_gives_up_waiting_at_its_deadline_and_cancels(directory):
    asked = asyncio.ensure_future(directory.ask("a", Run(asyncio.Event().wait)))
    await until(directory.busy)
    assert await directory.stop("a", deadline_s=0.01) is True
    with pytest.raises(ActorInterruptedError):
        await asked
    assert len(directory) == 0


async def test_an_actor_that_stops_its_own_key_does_not_wait_for_itself(directory):
    assert await directory.ask("a", Run(lambda: directory.stop("a"))) is True
    await until(lambda: len(directory) == 0)


async def test_a_stopped_directory_starts_nobody(directory):
    await directory.ask("a", Note(1))
    report = await directory.stop_all(deadline_s=1)
    assert (report.stopped, report.cancelled, report.abandoned) == (1, 0, ())
    with pytest.raises(UnavailableError) as caught:
        await directory.ask("a", Note(1))
    assert caught.value.code == "shutting_down"
    with pytest.raises(UnavailableError):
        directory.tell("b", Note(1))
    assert directory.tell_if_alive("a", Note(1)) is False


def test_it_belongs_to_a_loop(directory):
    with pytest.raises(RuntimeError):
        directory.tell("a", Note(1))
