"""What can be seen of the actors from outside: who is busy with what, and how messages ended."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Outcome: TypeAlias = Literal["handled", "refused", "failed", "unknown", "interrupted"]


@dataclass(frozen=True, slots=True)
class BusyActor:
    """An actor that is handling a message right now."""

    actor: str
    """Its class and key."""

    actor_urn: str
    key: Hashable
    message_class: str
    busy_s: float
    inbox_depth: int
    awaits: str | None
    """The actor whose reply it awaits."""

    def __str__(self) -> str:
        awaits = f", awaits {self.awaits}" if self.awaits else ""
        doing = f"{self.message_class} for {self.busy_s:.3f} s"
        return f"{self.actor}: {doing}, {self.inbox_depth} waiting{awaits}"


class ActorObserver(Protocol):
    """Where the figures go. Called on the loop, after every message among others: quick, and never raising."""

    def actor_started(self, actor_class: str) -> None:
        """An actor was started, for the first time under its key or after another has ended."""
        ...

    def message_ended(self, actor_class: str, message_class: str, duration_s: float, outcome: Outcome) -> None:
        """One message was handled, or not: ``refused`` is a domain error, ``failed`` any other."""
        ...

    def messages_dropped(self, actor_class: str, count: int) -> None:
        """So many told messages were still waiting when the actor ended."""
        ...
