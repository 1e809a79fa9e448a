"""Pykka's actor as it is on the loop: the same class, whose hooks may be coroutines.

Pykka types its hooks as returning None, and an override that is a coroutine would break that type in every actor. So
type checkers see this description of the parts that are used here; at run time it is ``pykka.Actor`` itself.
"""

from collections.abc import Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import pykka

HookResult: TypeAlias = Coroutine[Any, Any, None] | None

if TYPE_CHECKING:

    class PykkaActor:
        """What is used of ``pykka.Actor``."""

        actor_urn: str
        _actor_ref: pykka.ActorRef[Any]

        def stop(self) -> None:
            """Ask this actor to stop when it has handled what waits now; does not wait."""

        def on_start(self) -> HookResult:
            """Run first of all in the actor's task; an exception ends the actor and reaches whoever asked it."""

        def on_stop(self) -> HookResult:
            """Run last of all; an exception is logged."""

        def on_failure(
            self,
            exception_type: type[BaseException] | None,
            exception_value: BaseException | None,
            traceback: TracebackType | None,
        ) -> HookResult:
            """Run after an exception that ends the actor (see ``told_failure_stops``)."""

        def _handle_receive(self, message: Any) -> Any: ...

else:
    PykkaActor = pykka.Actor
