"""Child tasks, which an actor owns, and its retirement when idle."""

import asyncio
import logging
from dataclasses import dataclass

import pytest

from actors.loop import ActorDeadError, Message, handles
from tests.actors.samples import Call, Gate, Note, Notebook, Recall, Run, actor_of, until


async def test_an_actor_answers_while_a_child_works_and_hears_when_it_is_done():
    gate = Gate()

    def begin(actor):
        async def work():
            actor.tell_self(Note(await gate.pass_through()))

        return actor.start_child(work(), "work").get_name()

    ref = await Notebook.spawn()
    assert await ref.ask(Call(begin), block=False) == f"{ref}/work"
    await gate.reached.wait()
    assert await ref.ask(Recall(), block=False) == []
    gate.open()
    notes: list[str] = []
    while not notes:
        notes = await ref.ask(Recall(), block=False)
    assert notes == ["through"]


async def test_what_waits_when_a_stop_is_asked_for_is_answered_although_nothing_can_follow_from_it():
    gate = Gate()

    def command(actor: Notebook) -> str:
        actor.tell_self(Note("what follows"))
        return "done"

    ref = await Notebook.spawn()
    notes = actor_of(ref).notes
    busy = ref.ask(Run(gate.pass_through), block=False)
    waiting = ref.ask(Call(command), block=False)
    stopped = ref.stop(block=False)
    gate.open()
    assert [await busy, await waiting, await stopped, notes] == ["through", "done", True, []]


@pytest.mark.parametrize("how", ["stopped", "cancelled", "on_start failed"])
async def test_children_end_before_their_actor(how):
    gate, ended = Gate(), []

    class Parent(Notebook):
        async def on_start(self):
            self.start_child(self.work(), "work")
            await gate.reached.wait()
            super().on_start()

        async def work(self):
            try:
                await gate.pass_through()
            finally:
                ended.append("child")

        def on_stop(self):
            ended.append("actor")

    if how == "on_start failed":
        with pytest.raises(ZeroDivisionError):
            await Parent.spawn(on_start_error=ZeroDivisionError())
        await until(lambda: ended == ["child"])
        return
    ref = await Parent.spawn()
    if how == "stopped":
        await ref.stop(block=False)
    else:
        ref.task.cancel()
        await until(ref.task.done)
    assert ended == ["child", "actor"]


async def test_a_child_that_fails_is_logged_and_its_actor_hears_of_it(caplog):
    heard = []

    class Parent(Notebook):
        def on_child_failure(self, name, error):
            heard.append((name, str(error)))

    async def work():
        raise ZeroDivisionError("in the child")

    ref = await Parent.spawn()
    await ref.ask(Call(lambda actor: actor.start_child(work(), "work") and None), block=False)
    await until(lambda: heard == [("work", "in the child")])
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        f"Child task {ref}/work failed: in the child"
    ]
    assert ref.is_alive()


async def test_a_stopped_actor_starts_no_child():
    refused = []

    class Late(Notebook):
        def on_stop(self):
            try:
                self.start_child(asyncio.sleep(0), "late")
            except ActorDeadError:
                refused.append(True)

    ref = await Late.spawn()
    await ref.stop(block=False)
    assert refused == [True]


async def test_a_child_that_does_not_end_is_named_and_left_behind(caplog):
    gate = Gate()

    class Parent(Notebook):
        child_stop_timeout_s = 0.01

    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await gate.pass_through()

    ref = await Parent.spawn()
    child = await ref.ask(Call(lambda actor: [actor.start_child(stubborn(), "stubborn")]), block=False)
    await asyncio.sleep(0)
    assert await ref.stop(block=False) is True
    assert f"Child task {ref}/stubborn does not end on being cancelled; left behind" in caplog.messages
    gate.open()
    await until(child[0].done)


class Idler(Notebook):
    idle_timeout_s = 0.02


@dataclass(frozen=True, slots=True)
class Tick(Message[None]):
    """An actor's own beat."""

    keeps_awake = False


async def test_an_idle_actor_retires():
    ref = await Idler.spawn()
    events = await ref.ask(Call(lambda actor: actor.events), block=False)
    await until(lambda: events == ["start", "stop"])
    assert not ref.is_alive()


async def test_messages_put_off_retirement_and_its_own_ticks_do_not():
    class Ticking(Idler):
        idle_timeout_s = 0.2
        ticks = 0

        async def on_start(self):
            self.start_child(self.beat(), "beat", keeps_awake=False)

        async def beat(self):
            while True:
                self.tell_self(Tick())
                await asyncio.sleep(0.001)

        @handles(Tick)
        def tick(self, _message: Tick) -> None:
            self.ticks += 1

    loop = asyncio.get_running_loop()
    ref = await Ticking.spawn()
    begun = loop.time()
    while loop.time() < begun + 0.4:
        assert await ref.ask(Recall(), block=False) == []
        await asyncio.sleep(0.01)
    assert actor_of(ref).ticks > 10
    await until(lambda: not ref.is_alive())


async def test_neither_a_working_actor_nor_one_with_a_working_child_retires():
    gate, child_gate = Gate(), Gate()
    ref = await Idler.spawn()
    loop = asyncio.get_running_loop()
    reply = ref.ask(Run(gate.pass_through), block=False)
    begun = loop.time()
    await until(lambda: loop.time() > begun + 3 * 0.02)
    gate.open()
    assert await reply == "through"
    await ref.ask(Call(lambda actor: [actor.start_child(child_gate.pass_through(), "work")]), block=False)
    begun = loop.time()
    await until(lambda: loop.time() > begun + 3 * 0.02)
    assert ref.is_alive()
    child_gate.open()
    await until(lambda: not ref.is_alive())


async def test_an_actor_may_decline_to_retire():
    class Needed(Idler):
        needed = True
        asked = 0

        def may_retire(self):
            self.asked += 1
            return not self.needed

    ref = await Needed.spawn()
    actor = actor_of(ref)
    await until(lambda: actor.asked == 3)
    assert ref.is_alive()
    actor.needed = False
    await until(lambda: not ref.is_alive())
