"""What the terminal's handler tells actors, where that cannot be caused from outside."""

from types import SimpleNamespace
from typing import Any

from actors.loop import InboxFullError
from devpocket.metrics import Metrics
from handlers.terminal import ACTIVITY_EVERY, TerminalHandler
from tests.auth.clocks import SetClock
from tests.handlers.fakes import environment


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
    handler.application = SimpleNamespace(settings={"backend": backend})  # type: ignore[assignment]
    handler.environment = environment()
    handler._noted_at = clock.now() - ACTIVITY_EVERY
    handler.note_typing(1)
    assert environments.told == 1
