"""What clients were promised: written down by those who asked, compared with what is there in the end.

An answer that never came, or one of 500 and above, promises nothing: the request may have been carried out, now or
somewhat later. So it adds a doubt, which stays, and whatever a doubt allows is right.
"""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Promise:
    """One environment as its user knows it; ``desired`` and ``description`` are those acknowledged last."""

    user: str
    name: str
    environment_id: str = ""
    exists: bool | None = None
    """None while a creation or a deletion is in doubt."""
    desired: str = "running"
    description: str = ""
    doubted_desired: set[str] = field(default_factory=set)
    doubted_descriptions: set[str] = field(default_factory=set)
    typed: list[str] = field(default_factory=list)
    doubted_lines: set[str] = field(default_factory=set)

    @property
    def possible_desired(self) -> set[str]:
        return {self.desired, *self.doubted_desired}

    @property
    def possible_descriptions(self) -> set[str]:
        return {self.description, *self.doubted_descriptions}


@dataclass(slots=True)
class Ledger:
    """The promises of all clients, and what they found broken on their way."""

    promises: list[Promise] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    acknowledged: Counter[str] = field(default_factory=Counter)
    doubted: Counter[str] = field(default_factory=Counter)

    def add(self, promise: Promise) -> None:
        """Write down an environment that somebody has begun to ask for."""
        self.promises.append(promise)

    def summary(self) -> str:
        """Return how much was acknowledged and how much remained in doubt."""
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.acknowledged.items()))
        doubts = ", ".join(f"{name} {count}" for name, count in sorted(self.doubted.items()))
        return f"acknowledged: {counts}; in doubt: {doubts or 'nothing'}"
