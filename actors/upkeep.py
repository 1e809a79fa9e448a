"""What a running environment needs from its owner now and then: samples, saved terminals, an end of idleness."""

from datetime import datetime, timedelta

from actors.journal import Journal
from actors.ports import Ports
from actors.samples import Samples
from devpocket.domain.environments import Environment
from devpocket.domain.events import EventKind
from devpocket.domain.plans import Plan
from devpocket.runtime.port import Usage

SAVE_INTERVAL = timedelta(minutes=1)
FRESH_FOR = timedelta(seconds=3)


class Upkeep:
    """The clockwork of one environment in one process; all times are those of the injected clock."""

    def __init__(self, ports: Ports, journal: Journal, samples: Samples) -> None:
        self._ports = ports
        self._journal = journal
        self._samples = samples
        self._usage: Usage | None = None
        self._sampled_at: datetime | None = None
        self._saved_at: datetime | None = None
        self._warned_since: datetime | None = None

    async def usage(self, environment: Environment) -> Usage | None:
        """Return figures that are at most a few seconds old; None while it does not run."""
        now = self._ports.clock.now()
        if self._usage is None or now - self._usage.measured_at > FRESH_FOR:
            self._usage = await self._ports.runtime.usage(environment.id)
        return self._usage

    async def sample(self, environment: Environment, *, is_watched: bool) -> None:
        """Keep a sample when one is due: more often while somebody watches."""
        settings = self._ports.settings.ownership
        interval_s = settings.watched_sample_interval_s if is_watched else settings.sample_interval_s
        now = self._ports.clock.now()
        if self._sampled_at is not None and now - self._sampled_at < timedelta(seconds=interval_s):
            return
        self._sampled_at = now
        usage = await self.usage(environment)
        if usage is not None:
            self._samples.add(environment.id, usage)

    async def save_terminal(self, environment: Environment) -> None:
        """Save the terminal's state when somebody used it since the last time, at most once a minute."""
        used_at, now = environment.last_accessed_at, self._ports.clock.now()
        if used_at is None or (self._saved_at is not None and used_at + SAVE_INTERVAL < self._saved_at):
            return
        if self._saved_at is not None and now - self._saved_at < SAVE_INTERVAL:
            return
        self._saved_at = now
        await self._ports.runtime.save_terminal(environment.id)

    async def idle_reason(self, environment: Environment, plan: Plan) -> str | None:
        """Return the sentence to stop it with when its plan's idle time is over; warn its sockets before."""
        if plan.idle_timeout_s is None:
            return None
        since = max(environment.last_accessed_at or environment.phase_since_at, environment.phase_since_at)
        left_s = plan.idle_timeout_s - (self._ports.clock.now() - since).total_seconds()
        if left_s <= 0:
            return f"Stopped after {_minutes(plan.idle_timeout_s)} without use."
        if left_s <= self._ports.settings.ownership.idle_warning_s and self._warned_since != since:
            self._warned_since = since
            message = f"Nobody has typed here for a while: this environment stops in {_minutes(left_s)}."
            await self._journal.announce(environment.id, EventKind.NOTICE, {"message": message})
        return None


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} seconds"
    return f"{round(seconds / 60)} minutes"
