"""What the actor runtime raises.

Two of them reach a person (the handler of a request lets them pass) and are therefore domain errors: a full inbox and
an interrupted actor. The others are for the code around an actor, or for its author.
"""

import pykka

from devpocket.errors import UnavailableError

ActorDeadError = pykka.ActorDeadError


class ActorGoneError(ActorDeadError):
    """The actor ended before it handled this message, so sending it again to a successor is safe."""

    def __init__(self, name: str, actor_urn: str, *, found: bool = True) -> None:
        super().__init__(f"{name} stopped before handling the message" if found else f"{name} not found")
        self.actor_urn = actor_urn


class ActorStartError(ActorDeadError):
    """The actor's ``on_start`` failed; ``failure`` (and ``__cause__``) is what it raised."""

    def __init__(self, name: str, actor_urn: str, failure: Exception) -> None:
        super().__init__(f"{name} could not start: {failure!r}")
        self.__cause__ = failure
        self.actor_urn = actor_urn
        self.failure = failure


class ActorInterruptedError(UnavailableError):
    """The actor was ended in the middle of handling this message; whether it took effect is unknown."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "This was interrupted. Look at the present state before trying again.",
            code="interrupted",
            detail=f"{name} was ended while handling the message",
        )


class InboxFullError(UnavailableError):
    """The actor has as many messages waiting as it may have."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(
            "Too much is going on here at once. Try again in a moment.",
            code="overloaded",
            detail=f"the inbox of {name} holds {limit} messages",
            retry_after_s=1.0,
        )


class AwaitCancelledError(Exception):
    """Something that a handler or a hook awaited was cancelled, though the actor was not.

    It stands in for ``CancelledError``, which the asker would take for its own cancellation.
    """


class WouldBlockLoopError(RuntimeError):
    """A blocking call on the thread of a running event loop; nothing was sent."""


class ActorDeadlockError(RuntimeError):
    """The actors in the message wait for each other in a circle, so this reply would never come."""


class UnknownMessageError(TypeError):
    """The actor has no method that handles this class of message."""


class NoLoopError(RuntimeError):
    """An actor was started from a thread without an event loop, and no loop has been bound."""
