"""Messages and their handlers: the table, the replies, and who hears of a failure."""

import logging
from dataclasses import dataclass

import pytest

from actors.loop import LoopActor, Message, UnknownMessageError, handles
from devpocket.errors import NotFoundError
from tests.actors.samples import Call, Fail, Note, Notebook, Recall, Unheard, until


async def test_each_message_reaches_its_handler_whether_sync_or_not():
    ref = await Notebook.spawn()
    assert await ref.ask(Note("a"), block=False) == 1
    assert await ref.ask(Recall(), block=False) == ["a"]


async def test_a_subclass_takes_a_message_over_by_overriding_or_by_marking():
    class Shouting(Notebook):
        def note(self, message: Note) -> int:
            return super().note(Note(message.value.upper()))

        @handles(Recall)
        def remember(self, _message: Recall) -> list[str]:
            return ["remembered", *self.notes]

    ref = await Shouting.spawn()
    await ref.ask(Note("a"), block=False)
    assert await ref.ask(Recall(), block=False) == ["remembered", "A"]


def test_two_handlers_of_one_class_for_one_message_are_refused_at_once():
    with pytest.raises(TypeError, match="both first and second handle Note"):

        class _Torn(LoopActor):
            @handles(Note)
            def first(self, _message: Note) -> int:
                return 1

            @handles(Note)
            def second(self, _message: Note) -> int:
                return 2


def test_messages_are_values():
    @dataclass(frozen=True, slots=True)
    class Greet(Message[str]):
        name: str

    assert Greet("ada") == Greet("ada")
    assert not hasattr(Greet("ada"), "__dict__")


async def test_an_unknown_message_is_an_error_to_the_asker_and_a_warning_of_the_teller(caplog):
    ref = await Notebook.spawn()
    with pytest.raises(UnknownMessageError, match="Notebook does not handle Unheard"):
        await ref.ask(Unheard(), block=False)
    ref.tell(Unheard())
    assert await ref.ask(Note("still alive"), block=False) == 1
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == [f"Unexpected message received by {ref}: Unheard"]


async def test_what_a_handler_raises_goes_to_the_asker_and_the_actor_goes_on():
    ref = await Notebook.spawn()
    with pytest.raises(ZeroDivisionError, match="asked for"):
        await ref.ask(Fail(ZeroDivisionError("asked for")), block=False)
    assert await ref.ask(Note("on"), block=False) == 1


async def test_a_told_failure_is_logged_and_counted_and_the_actor_goes_on(caplog):
    heard = []

    class Counting(Notebook):
        def on_told_failure(self, message, error):
            heard.append((message, error))

    ref = await Counting.spawn()
    error = ZeroDivisionError("nobody waits")
    ref.tell(Fail(error))
    ref.tell(Note("after it"))
    assert await ref.ask(Recall(), block=False) == ["after it"]
    assert await ref.ask(Call(lambda actor: actor.told_failures), block=False) == 1
    assert heard == [(Fail(error), error)]
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage() == f"Exception in {ref} on told Fail:"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_by_pykkas_policy_a_told_failure_ends_the_actor():
    class Strict(Notebook):
        told_failure_stops = True

    ref = await Strict.spawn()
    events = await ref.ask(Call(lambda actor: actor.events), block=False)
    ref.tell(Fail(ZeroDivisionError()))
    await until(lambda: not ref.is_alive())
    assert events == ["start", "failure"]


async def test_expected_refusals_are_logged_without_traceback(caplog):
    caplog.set_level(logging.DEBUG)
    ref = await Notebook.spawn()
    refusal = NotFoundError("There is no such environment.")
    with pytest.raises(NotFoundError):
        await ref.ask(Fail(refusal), block=False)
    ref.tell(Fail(refusal))
    with pytest.raises(NotFoundError):
        await Notebook.spawn(on_start_error=refusal)
    about = [r for r in caplog.records if "no such environment" in r.getMessage()]
    assert [r.levelno for r in about] == [logging.DEBUG, logging.INFO, logging.INFO]
    assert [r.exc_info for r in about] == [None, None, None]


async def test_an_observer_hears_of_starts_and_how_every_message_ended():
    started, ended = [], []

    class Observer:
        def actor_started(self, actor_class):
            started.append(actor_class)

        def message_ended(self, actor_class, message_class, duration_s, outcome):
            assert duration_s >= 0
            ended.append((actor_class, message_class, outcome))

        def messages_dropped(self, actor_class, count):
            ended.append((actor_class, "dropped", count))

    class Observed(Notebook):
        observer = Observer()

    ref = await Observed.spawn()
    await ref.ask(Note(1), block=False)
    ref.tell(Fail(ZeroDivisionError()))
    ref.tell(Fail(NotFoundError("none")))
    ref.tell(Unheard())
    await ref.ask(Recall(), block=False)
    assert started == ["Observed"]
    assert ended == [
        ("Observed", "Note", "handled"),
        ("Observed", "Fail", "failed"),
        ("Observed", "Fail", "refused"),
        ("Observed", "Unheard", "unknown"),
        ("Observed", "Recall", "handled"),
    ]
    ref.tell(Note("left behind"))
    ref.task.cancel()
    await until(ref.task.done)
    assert ended[5:] == [("Observed", "dropped", 1)]


async def test_a_stop_is_no_message_to_be_observed():
    ended = []

    class Observer:
        def actor_started(self, actor_class): ...

        def message_ended(self, actor_class, message_class, duration_s, outcome):
            ended.append(message_class)

        def messages_dropped(self, actor_class, count): ...

    class Observed(Notebook):
        observer = Observer()

    ref = await Observed.spawn()
    await ref.ask(Note(1), block=False)
    await ref.stop(block=False)
    assert ended == ["Note"]
