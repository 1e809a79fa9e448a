"""Commands that wait a moment for what they lead to: the app asks once after a start, and never again by itself."""

import asyncio
from dataclasses import dataclass

from actors.directory import Directory
from actors.messages import Command, CommandEnvironment, GetEnvironment, UnwatchEnvironment, WatchEnvironment
from devpocket.domain.environments import Environment, EnvironmentStatus
from devpocket.domain.events import EnvironmentEvent, EventKind
from devpocket.ids import EnvironmentId, new_id

PATIENCE_S = 2.0
"""Far below what a phone waits for an answer, above what a start usually takes."""
_AWAITED = frozenset({Command.START, Command.RESTART})


@dataclass(frozen=True, slots=True)
class Settling:
    """Sends commands to environments."""

    environments: Directory[EnvironmentId]

    async def command(self, environment_id: EnvironmentId, message: CommandEnvironment) -> Environment:
        """Carry the command out and return the environment: as it is then, or after a start once it runs.

        A start is waited for 2 s at most; the errors are those of :class:`~actors.messages.CommandEnvironment`.
        Cancelling stops the waiting, not the command.
        """
        if message.command not in _AWAITED:
            return await self.environments.ask(environment_id, message)
        watcher_id, settled = new_id(), asyncio.Event()

        def listen(event: EnvironmentEvent) -> None:
            if event.kind is EventKind.STATUS and event.data.get("status") != EnvironmentStatus.CREATING:
                settled.set()

        try:
            await self.environments.ask(environment_id, WatchEnvironment(message.user_id, watcher_id, listen))
            await self.environments.ask(environment_id, message)
            settled.clear()  # what was announced before the command says nothing about it
            async with asyncio.timeout(PATIENCE_S):
                await settled.wait()
        except TimeoutError:
            pass  # it goes on; the answer says how far it is
        finally:
            self.environments.tell_if_alive(environment_id, UnwatchEnvironment(watcher_id))
        return (await self.environments.ask(environment_id, GetEnvironment(message.user_id))).environment
