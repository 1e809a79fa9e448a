"""Pykka's contract on the loop: order, start, failure, stop, teardown, registry, proxies."""

import asyncio
import contextvars
import uuid
from typing import Any

import pykka
import pytest

from actors.loop import ActorDeadError, ActorGoneError, ActorStartError, AwaitCancelledError, LoopActor, LoopFuture
from tests.actors.samples import Call, Fail, Gate, Note, Notebook, Recall, Run, actor_of, until


async def test_messages_of_one_sender_are_handled_in_order():
    ref = await Notebook.spawn()
    for number in range(500):
        ref.tell(Note(number))
    assert await ref.ask(Recall(), block=False) == list(range(500))


async def test_one_message_at_a_time_also_when_the_handler_waits():
    inside, most = 0, 0

    async def work():
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1

    ref = await Notebook.spawn()
    await asyncio.gather(*(ref.ask(Run(work), block=False) for _ in range(20)))
    assert most == 1


async def test_actors_wait_side_by_side():
    gates = [Gate() for _ in range(10)]
    refs = [await Notebook.spawn() for _ in gates]
    replies = [ref.ask(Run(gate.pass_through), block=False) for ref, gate in zip(refs, gates, strict=True)]
    await asyncio.gather(*(gate.reached.wait() for gate in gates))
    for gate in gates:
        gate.open()
    assert await asyncio.gather(*replies) == ["through"] * 10


async def test_urn_and_names():
    ref = Notebook.start()
    assert uuid.UUID(ref.actor_urn).version == 4
    assert str(ref) == f"Notebook ({ref.actor_urn})"
    assert repr(ref) == f"<ActorRef for {ref}>"


async def test_on_start_runs_registered_and_before_the_first_message():
    seen = []

    class Starting(Notebook):
        async def on_start(self):
            await asyncio.sleep(0)
            seen.append(pykka.ActorRegistry.get_by_urn(self.actor_urn) is self.actor_ref)

    ref = Starting.start()
    assert await ref.ask(Note("first"), block=False) == 1
    assert seen == [True]


async def test_a_failed_on_start_ends_the_actor_and_tells_those_who_asked_why(caplog):
    ref = Notebook.start(on_start_error=ZeroDivisionError("no start"))
    with pytest.raises(ActorStartError) as caught:
        await ref.ask(Note(1), block=False)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert not ref.is_alive()
    assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is None
    assert f"Unhandled exception in {ref}:" in caplog.messages


async def test_spawn_raises_what_on_start_raised():
    with pytest.raises(ZeroDivisionError, match="no start"):
        await Notebook.spawn(on_start_error=ZeroDivisionError("no start"))


async def test_cancelling_spawn_stops_the_actor():
    gate = Gate()
    events = []

    class Slow(Notebook):
        async def on_start(self):
            await gate.pass_through()

        async def on_stop(self):
            events.append("stop")

    spawning = asyncio.create_task(Slow.spawn())
    await gate.reached.wait()
    (actor,) = LoopActor.running.values()
    spawning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await spawning
    gate.open()
    await until(lambda: not actor.actor_ref.is_alive())
    assert events == ["stop"]


async def test_stop_means_that_on_stop_has_finished():
    finished = []

    class Tidy(Notebook):
        async def on_stop(self):
            await asyncio.sleep(0)
            finished.append(True)

    ref = await Tidy.spawn()
    assert await ref.stop(block=False) is True
    assert finished == [True]
    assert await ref.stop(block=False) is False


async def test_what_was_sent_before_a_stop_is_handled_and_what_comes_after_is_refused():
    gate = Gate()
    ref = await Notebook.spawn()
    waiting = ref.ask(Run(gate.pass_through), block=False)
    before = ref.ask(Note("before"), block=False)
    stopped = ref.stop(block=False)
    after = ref.ask(Note("after"), block=False)
    with pytest.raises(ActorDeadError):
        ref.tell(Note("told after"))
    second_stop = ref.stop(block=False)
    gate.open()
    assert await waiting == "through"
    assert await before == 1
    assert await stopped is True
    with pytest.raises(ActorGoneError, match="stopped before handling the message"):
        await after
    assert await second_stop is True


async def test_an_actor_can_stop_itself_more_than_once():
    ref = await Notebook.spawn()
    events = actor_of(ref).events

    def stop_twice(actor: Notebook) -> None:
        actor.stop()
        actor.stop()

    await ref.ask(Call(stop_twice), block=False)
    await until(lambda: "stop" in events)
    assert events == ["start", "stop"]
    with pytest.raises(ActorDeadError, match="not found"):
        ref.tell(Note("late"))


async def test_a_failing_on_stop_is_logged_and_the_stop_succeeds(caplog):
    ref = await Notebook.spawn()
    await ref.ask(Call(lambda actor: setattr(actor, "on_stop_error", ZeroDivisionError("no stop"))), block=False)
    assert await ref.stop(block=False) is True
    assert f"Unhandled exception in {ref}:" in caplog.messages


async def test_a_failing_on_failure_does_not_keep_the_actor_alive(caplog):
    class Hopeless(Notebook):
        told_failure_stops = True

        async def on_failure(self, *_exc_info):
            raise ZeroDivisionError("second failure")

    ref = await Hopeless.spawn()
    ref.tell(Fail(KeyError("first failure")))
    await until(lambda: not ref.is_alive())
    assert [r.exc_info[0] for r in caplog.records if r.exc_info] == [KeyError, ZeroDivisionError]


async def test_hooks_that_meet_a_cancelled_task_fail_instead_of_vanishing():
    async def cancelled():
        task = asyncio.ensure_future(asyncio.sleep(3600))
        task.cancel()
        await task

    class Starting(Notebook):
        async def on_start(self):
            await cancelled()

    with pytest.raises(AwaitCancelledError):
        await Starting.spawn()


async def test_a_future_that_a_handler_returns_is_the_reply_itself():
    inner: LoopFuture[str] = LoopFuture()
    ref = await Notebook.spawn()
    reply = await ref.ask(Call(lambda _actor: inner), block=False)
    assert reply is inner
    inner.set("later")
    assert await reply == "later"


async def test_proxies_call_methods_read_and_write_attributes():
    class Account(LoopActor):
        balance = 10

        def deposit(self, amount):
            self.balance += amount
            return self.balance

        async def deposit_later(self, amount):
            await asyncio.sleep(0)
            return self.deposit(amount)

    proxy = Account.start().proxy()
    assert await proxy.balance == 10
    assert await proxy.deposit(5) == 15
    assert await proxy.deposit_later(5) == 20
    proxy.deposit.defer(1)
    assert await proxy.balance == 21
    await proxy.actor_ref.stop(block=False)


async def test_the_registry_finds_and_reaches_actors_by_class():
    kind: Any = Notebook
    refs = [await Notebook.spawn() for _ in range(3)]
    assert pykka.ActorRegistry.get_by_class(kind) == refs
    pykka.ActorRegistry.broadcast(Note("all"), target_class=kind)
    for ref in refs:
        assert await ref.ask(Recall(), block=False) == ["all"]
    assert await asyncio.gather(*pykka.ActorRegistry.stop_all(block=False)) == [True] * 3
    assert pykka.ActorRegistry.get_all() == []


async def test_an_actor_inherits_no_context_from_who_started_it():
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
    request_id.set("r-1")
    ref = await Notebook.spawn()
    assert await ref.ask(Call(lambda _actor: request_id.get()), block=False) == "none"
