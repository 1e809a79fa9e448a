"""Plans: how much a user may have. A plan never gives rights; those come from the role alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from devpocket.domain.environments import ResourceLimits


@dataclass(frozen=True, slots=True)
class Plan:
    """What one plan allows."""

    name: str
    environments: int
    """Environments that exist at the same time, stopped ones included."""
    sockets: int
    """Open sockets of all kinds, over all processes."""
    idle_timeout_s: float | None
    """Seconds without use after which an environment is stopped; None: never."""
    wake_on_connect: bool
    """Whether opening the terminal of an environment that was stopped for idling starts it again."""
    default_resources: ResourceLimits
    """What an environment gets when neither the request nor the template says."""
    max_resources: ResourceLimits
    """The most that one environment may be given."""

    def exceeded(self, limits: ResourceLimits) -> tuple[str, ...]:
        """Return of which resources (``cpu``, ``memory``, ``storage``) ``limits`` asks for more than the plan has."""
        most = self.max_resources
        asked = {
            "cpu": limits.cpu_millis > most.cpu_millis,
            "memory": limits.memory_bytes > most.memory_bytes,
            "storage": limits.storage_bytes > most.storage_bytes,
        }
        return tuple(name for name, is_over in asked.items() if is_over)

    def clamp(self, limits: ResourceLimits) -> ResourceLimits:
        """Return ``limits`` cut to what the plan allows: for defaults of a template, which nobody asked for by name."""
        return replace(limits, **{name: getattr(self.max_resources, name) for name in self.exceeded(limits)})


@dataclass(frozen=True, slots=True)
class Plans:
    """All plans, by name."""

    by_name: Mapping[str, Plan]
    default: Plan
    """The plan of new users, and of users whose plan is no longer in the file."""

    def of(self, name: str) -> Plan:
        """Return the plan called ``name``; the default one where there is none."""
        return self.by_name.get(name, self.default)
