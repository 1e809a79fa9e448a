"""Cancelling a caller, an actor, or what an actor awaits: three different things."""

import asyncio
import gc

import pytest

from actors.loop import ActorGoneError, ActorInterruptedError, AwaitCancelledError, LoopActor
from tests.actors.samples import Call, Gate, Note, Notebook, Recall, Run, until


async def test_a_caller_that_gives_up_leaves_the_work_going_on():
    gate = Gate()
    ref = await Notebook.spawn()

    async def work():
        await gate.pass_through()
        return "done"

    reply = ref.ask(Run(work), block=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await reply
    gate.open()
    assert await reply == "done"
    assert ref.is_alive()


async def test_cancelling_an_actor_ends_it_alone():
    gate = Gate()
    others = [await Notebook.spawn() for _ in range(100)]
    ref = await Notebook.spawn()
    events = await ref.ask(Call(lambda actor: actor.events), block=False)
    interrupted = ref.ask(Run(gate.pass_through), block=False)
    queued = ref.ask(Note("never"), block=False)
    stop = ref.stop(block=False)
    await gate.reached.wait()
    ref.task.cancel()
    with pytest.raises(ActorInterruptedError):
        await interrupted
    with pytest.raises(ActorGoneError):
        await queued
    assert await stop is True
    await until(ref.task.done)
    assert ref.task.cancelled()
    assert events == ["start", "stop"]
    assert all(other.is_alive() for other in others)
    assert await asyncio.gather(*(other.ask(Note(1), block=False) for other in others)) == [1] * 100


async def test_cancelling_an_idle_actor_runs_on_stop():
    ref = await Notebook.spawn()
    events = await ref.ask(Call(lambda actor: actor.events), block=False)
    ref.task.cancel()
    await until(ref.task.done)
    assert events == ["start", "stop"]
    assert not ref.is_alive()


async def test_on_stop_of_a_cancelled_actor_can_use_timeouts():
    outcome = []

    class Lingering(Notebook):
        async def on_stop(self):
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.Event().wait()
            except TimeoutError:
                outcome.append("timed out by itself")

    ref = await Lingering.spawn()
    ref.task.cancel()
    await until(ref.task.done)
    assert outcome == ["timed out by itself"]


async def test_on_stop_of_a_cancelled_actor_may_fail_like_any_other(caplog):
    class Failing(Notebook):
        async def on_stop(self):
            victim = asyncio.ensure_future(asyncio.sleep(3600))
            victim.cancel()
            await victim

    ref = await Failing.spawn()
    ref.task.cancel()
    await until(ref.task.done)
    (record,) = [r for r in caplog.records if r.getMessage() == f"Unhandled exception in {ref}:"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], AwaitCancelledError)


async def test_a_cancelled_actor_refuses_messages_while_on_stop_still_runs():
    gate = Gate()

    class Slow(Notebook):
        async def on_stop(self):
            await gate.pass_through()

    ref = await Slow.spawn()
    ref.task.cancel()
    await gate.reached.wait()
    assert not ref.accepts()
    with pytest.raises(ActorGoneError):
        async with asyncio.timeout(1):
            await ref.ask(Note("late"), block=False)
    gate.open()
    await until(ref.task.done)


async def test_cancelled_before_its_first_step_it_still_answers_and_leaves_the_registry():
    ref = Notebook.start()
    asked = ref.ask(Note(1), block=False)
    ref.task.cancel()
    with pytest.raises(ActorGoneError):
        await asked
    assert not ref.is_alive()


async def test_spawning_an_actor_that_is_cancelled_does_not_hang():
    gate = Gate()

    class Slow(Notebook):
        async def on_start(self):
            await gate.pass_through()

    spawning = asyncio.create_task(Slow.spawn())
    await gate.reached.wait()
    (task,) = LoopActor.running
    task.cancel()
    with pytest.raises(ActorGoneError):
        await spawning


async def test_cancelled_in_on_start_it_does_not_run_on_stop():
    gate = Gate()
    events = []

    class Slow(Notebook):
        async def on_start(self):
            await gate.pass_through()

        def on_stop(self):
            events.append("stop")

    ref = Slow.start()
    await gate.reached.wait()
    ref.task.cancel()
    await until(ref.task.done)
    assert events == []


async def test_a_second_cancellation_cuts_on_stop_short():
    gate = Gate()

    class Endless(Notebook):
        async def on_stop(self):
            await gate.pass_through()

    ref = await Endless.spawn()
    stop = ref.stop(block=False)
    await gate.reached.wait()
    ref.task.cancel()
    assert await stop is True
    await until(ref.task.done)


async def test_something_awaited_being_cancelled_is_an_ordinary_failure():
    ref = await Notebook.spawn()
    victim = asyncio.ensure_future(asyncio.sleep(3600))
    reply = ref.ask(Run(lambda: _await(victim)), block=False)
    await asyncio.sleep(0)
    victim.cancel()
    with pytest.raises(AwaitCancelledError) as caught:
        await reply
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert await ref.ask(Note("alive"), block=False) == 1


async def test_a_sync_handler_that_meets_a_cancelled_future_fails_ordinarily():
    ref = await Notebook.spawn()
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    with pytest.raises(AwaitCancelledError):
        await ref.ask(Call(lambda _actor: cancelled.result()), block=False)
    assert await ref.ask(Recall(), block=False) == []


async def test_a_handler_that_swallows_the_cancellation_does_not_escape_it():
    gate = Gate()

    async def stubborn():
        try:
            await gate.pass_through()
        except asyncio.CancelledError:
            return "swallowed"

    ref = await Notebook.spawn()
    reply = ref.ask(Run(stubborn), block=False)
    await gate.reached.wait()
    ref.task.cancel()
    assert await reply == "swallowed"
    await until(ref.task.done)
    assert not ref.is_alive()


async def test_another_base_exception_stops_all_actors_without_blocking(caplog):
    class Panic(BaseException):
        pass

    others = [await Notebook.spawn() for _ in range(3)]
    ref = await Notebook.spawn()

    async def panic():
        raise Panic

    with pytest.raises(ActorInterruptedError):
        await ref.ask(Run(panic), block=False)
    await until(lambda: not any(other.is_alive() for other in (ref, *others)))
    await until(lambda: f"{ref} was ended by Panic()" in caplog.messages)
    gc.collect()


def test_an_exit_stops_all_actors_and_goes_on_to_the_top():
    stopped = []

    class Tidy(Notebook):
        async def on_stop(self):
            stopped.append(self.key)

    async def main():
        Tidy().launch("other")
        ref = await Tidy.spawn()

        async def leave():
            raise SystemExit(3)

        await ref.ask(Run(leave), block=False)

    with pytest.raises(SystemExit) as caught:
        asyncio.run(main())
    assert caught.value.code == 3
    assert sorted(map(str, stopped)) == ["None", "other"]
    assert not LoopActor.running


async def _await(awaitable):
    return await awaitable
