"""What the terminal's handler tells actors, where that cannot be caused from outside."""

import asyncio
from types import SimpleNamespace
from typing import Any

from actors.loop import InboxFullError
from actors.messages import UnwatchEnvironment
from devpocket.domain.events import EnvironmentEvent, EventKind
from devpocket.metrics import Metrics
from handlers.event_queue import EventQueue
from handlers.socket_registry import SocketRegistry
from handlers.terminal import ACTIVITY_EVERY, TerminalHandler
from tests.auth.clocks import SetClock
from tests.handlers.fakes import environment


class Environments:
    """A directory that remembers what was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def tell(self, _key: str, message: Any) -> None:
        self.told.append(message)


class OverrunEnvironments:
    """A directory whose actor has too much to do."""

    def __init__(self) -> None:
        self.told = 0

    def tell(self, key: str, _message: Any) -> None:
        self.told += 1
        raise InboxFullError(key, 2000)


def test_typing_goes_on_while_the_environments_actor_is_overrun() -> None:
    clock, environments = SetClock(), OverrunEnvironments()
    backend = SimpleNamespace(clock=clock, environments=environments, metrics=Metrics())
    handler = TerminalHandler.__new__(TerminalHandler)
    settings = {"backend": backend, "sockets": SocketRegistry()}
    handler.application = SimpleNamespace(settings=settings)  # type: ignore[assignment]
    handler.socket_id = "one"
    handler.environment = environment()
    handler._noted_at = clock.now() - ACTIVITY_EVERY
    handler.note_typing(1)
    assert environments.told == 1


def test_a_socket_that_is_gone_and_still_hears_says_so() -> None:
    environments = Environments()
    handler = TerminalHandler.__new__(TerminalHandler)
    handler.application = SimpleNamespace(  # type: ignore[assignment]
        settings={"backend": SimpleNamespace(environments=environments)}
    )
    handler.socket_id, handler.events, handler.gone = "one", EventQueue(), asyncio.Event()
    event = EnvironmentEvent(environment().id, EventKind.NOTICE, SetClock().now(), {"message": "Hear, hear."})
    handler._hear(event)
    handler.gone.set()
    handler._hear(event)
    assert (handler.events.get_nowait(), handler.events.get_nowait()) == (event, None)
    assert environments.told == [UnwatchEnvironment("one")]
