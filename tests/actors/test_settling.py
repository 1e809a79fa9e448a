"""Commands that wait a moment: whoever gives up takes its watch along."""

import pytest

from actors.directory import Directory
from actors.loop import LoopActor, handles
from actors.messages import Command, CommandEnvironment, UnwatchEnvironment, WatchEnvironment
from actors.settling import Settling
from devpocket.domain.environments import Environment
from devpocket.errors import UnavailableError
from devpocket.ids import EnvironmentId, UserId
from tests.actors.samples import Gate, until
from tests.handlers.fakes import environment

ENVIRONMENT, USER = EnvironmentId("e" * 24), UserId("u" * 24)


class SlowEnvironment(LoopActor):
    """Lets watchers in when the gate opens, as one whose store does not answer."""

    def __init__(self, gate: Gate, watchers: set[str]) -> None:
        super().__init__()
        self._gate = gate
        self._watchers = watchers

    @handles(WatchEnvironment)
    async def watch(self, message: WatchEnvironment) -> Environment:
        await self._gate.pass_through()
        self._watchers.add(message.watcher_id)
        return environment()

    @handles(UnwatchEnvironment)
    def unwatch(self, message: UnwatchEnvironment) -> None:
        self._watchers.remove(message.watcher_id)
        self._watchers.add("nobody")


async def test_a_watch_that_begins_after_it_was_given_up_is_ended():
    gate, watchers = Gate(), set[str]()
    environments: Directory[EnvironmentId] = Directory(lambda _: SlowEnvironment(gate, watchers), ask_timeout_s=0.01)
    with pytest.raises(UnavailableError):
        await Settling(environments).command(ENVIRONMENT, CommandEnvironment(USER, Command.START))
    gate.open()
    await until(lambda: watchers == {"nobody"})
