"""Stopping many actors together, and those that do not want to."""

import asyncio

from actors.loop import LoopActor, StopReport, stop_actors, stop_all
from tests.actors.samples import Call, Gate, Note, Notebook, Run, until


async def test_all_stop_together_after_handling_what_waits():
    refs = [await Notebook.spawn() for _ in range(200)]
    events = [await ref.ask(Call(lambda actor: actor.events), block=False) for ref in refs]
    last = [ref.ask(Note(1), block=False) for ref in refs]
    report = await stop_all(deadline_s=5)
    assert report == StopReport(stopped=200, cancelled=0, abandoned=())
    assert await asyncio.gather(*last) == [1] * 200
    assert events == [["start", "stop"]] * 200
    assert not LoopActor.running


async def test_nobody_to_stop():
    assert await stop_all(deadline_s=1) == StopReport(0, 0, ())


async def test_those_that_miss_the_deadline_are_cancelled_and_still_run_on_stop():
    ref, quick = await Notebook.spawn(), await Notebook.spawn()
    events = await ref.ask(Call(lambda actor: actor.events), block=False)
    ref.tell(Run(asyncio.Event().wait))
    report = await stop_all(deadline_s=0.02)
    assert report == StopReport(stopped=1, cancelled=1, abandoned=())
    assert events == ["start", "stop"]
    assert not quick.is_alive()


async def test_an_endless_on_stop_is_cut_short(monkeypatch):
    monkeypatch.setattr("actors.loop._GRACE_S", 0.02)

    class Endless(Notebook):
        async def on_stop(self):
            await asyncio.Event().wait()

    ref = await Endless.spawn()
    ref.tell(Run(asyncio.Event().wait))
    report = await stop_all(deadline_s=0.02)
    assert report == StopReport(stopped=0, cancelled=1, abandoned=())


async def test_one_that_cannot_be_stopped_is_named(monkeypatch):
    monkeypatch.setattr("actors.loop._GRACE_S", 0.02)
    gate = Gate()

    async def stubborn():
        while True:
            try:
                return await gate.pass_through()
            except asyncio.CancelledError:
                continue

    ref = Notebook().launch("stubborn")
    ref.tell(Run(stubborn))
    await gate.reached.wait()
    report = await stop_all(deadline_s=0.02)
    assert report == StopReport(stopped=0, cancelled=1, abandoned=("Notebook (stubborn)",))
    gate.open()
    await until(ref.task.done)


async def test_an_actor_may_stop_all_including_itself():
    refs = [await Notebook.spawn() for _ in range(3)]
    report = await refs[0].ask(Run(lambda: stop_all(deadline_s=5)), block=False)
    assert report == StopReport(stopped=2, cancelled=0, abandoned=())
    await until(lambda: not refs[0].is_alive())


async def test_only_the_named_are_stopped():
    ref, other = await Notebook.spawn(), await Notebook.spawn()
    assert await stop_actors([ref], deadline_s=5) == StopReport(1, 0, ())
    assert other.is_alive()
