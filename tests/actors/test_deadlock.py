"""Actors that would wait for each other for ever are told so."""

import asyncio
from dataclasses import dataclass

import pytest

from actors.loop import ActorDeadlockError, LoopActor, LoopActorRef, Message, busy_actors, handles
from tests.actors.samples import Gate, Notebook, Run, until


@dataclass(frozen=True, slots=True)
class PassOn(Message[int]):
    """Ask the first of the chain to pass on to the rest; the reply is the length."""

    chain: tuple[LoopActorRef[LoopActor], ...]


class Node(LoopActor):
    @handles(PassOn)
    async def pass_on(self, message: PassOn) -> int:
        if not message.chain:
            return 0
        reply: int = await message.chain[0].ask(PassOn(message.chain[1:]), block=False)
        return 1 + reply

    def on_child_failure(self, name, error):
        raise AssertionError(f"{name}: {error}")


async def test_a_chain_without_a_circle_is_fine():
    refs = [Node().launch(number) for number in range(5)]
    assert await refs[0].ask(PassOn(tuple(refs[1:])), block=False) == 4


async def test_a_circle_is_named():
    user, environment, disk = (Node().launch(name) for name in ("user", "environment", "disk"))
    with pytest.raises(ActorDeadlockError) as caught:
        await user.ask(PassOn((environment, disk, user)), block=False)
    assert str(caught.value) == "Node (disk) -> Node (user) -> Node (environment) -> Node (disk)"
    assert await user.ask(PassOn((environment, disk)), block=False) == 2


async def test_asking_oneself_is_a_circle_of_one():
    ref = await Node.spawn()
    with pytest.raises(ActorDeadlockError):
        await ref.ask(PassOn((ref,)), block=False)


async def test_waiting_for_ones_own_stop_is_one_too():
    ref = await Notebook.spawn()

    async def stop_myself():
        await ref.stop(block=False)

    with pytest.raises(ActorDeadlockError):
        await ref.ask(Run(stop_myself), block=False)
    await until(lambda: not ref.is_alive())


async def test_a_child_task_may_ask_its_own_actor():
    answers = []

    class Parent(Node):
        async def on_start(self):
            self.start_child(self.ask_myself(), "asker")

        async def ask_myself(self):
            answers.append(await self.actor_ref.ask(PassOn(()), block=False))

    await Parent.spawn()
    await until(lambda: answers == [0])


async def test_asking_an_actor_that_waited_before_is_fine():
    gate = Gate()
    one, two = await Notebook.spawn(), await Notebook.spawn()

    async def wait_for_two():
        try:
            async with asyncio.timeout(0.001):
                await two.ask(Run(gate.pass_through), block=False)
        except TimeoutError:
            return "gave up"

    assert await one.ask(Run(wait_for_two), block=False) == "gave up"
    gate.open()

    async def ask_one():
        return await one.ask(Run(gate.pass_through), block=False)

    assert await two.ask(Run(ask_one), block=False) == "through"


async def test_busy_actors_show_what_they_do_and_for_whom_they_wait():
    gate = Gate()
    user, environment = Notebook().launch("u1"), Notebook().launch("e1")

    async def ask_environment():
        return await environment.ask(Run(gate.pass_through), block=False)

    reply = user.ask(Run(ask_environment), block=False)
    await gate.reached.wait()
    user.tell(Run(gate.pass_through))
    first, second = busy_actors()
    assert (first.actor, first.key, first.message_class, first.inbox_depth) == ("Notebook (u1)", "u1", "Run", 1)
    assert first.awaits == "Notebook (e1)"
    assert first.busy_s >= second.busy_s >= 0
    assert second.awaits is None
    assert str(first).startswith("Notebook (u1): Run for 0.")
    assert str(first).endswith("s, 1 waiting, awaits Notebook (e1)")
    gate.open()
    assert await reply == "through"
    await until(lambda: busy_actors() == [])
