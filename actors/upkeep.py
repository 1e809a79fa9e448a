"""What a running environment needs from its owner now and then: samples, saved terminals."""

from datetime import datetime, timedelta

from actors.ports import Ports
from actors.samples import Samples
from devpocket.domain.environments import Environment, EnvironmentPhase
from devpocket.runtime.port import Usage

SAVE_INTERVAL = timedelta(minutes=1)
FRESH_FOR = timedelta(seconds=3)
_AT_REST = (EnvironmentPhase.REQUESTED, EnvironmentPhase.STOPPED, EnvironmentPhase.FAILED, EnvironmentPhase.DELETED)


class Upkeep:
    """The clockwork of one environment in one process; all times are those of the injected clock."""

    def __init__(self, ports: Ports, samples: Samples) -> None:
        self._ports = ports
        self._samples = samples
        self._usage: Usage | None = None
        self._sampled_at: datetime | None = None
        self._kept_at: datetime | None = None
        self._saved_at: datetime | None = None

    async def usage(self, environment: Environment) -> Usage | None:
        """Return figures that are at most a few seconds old; None while it does not run."""
        if environment.phase in _AT_REST:
            self._usage = None
            return None
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
        if usage is not None and usage.measured_at != self._kept_at:
            self._kept_at = usage.measured_at
            self._samples.add(environment.id, usage)

    async def save_terminal(self, environment: Environment, used_at: datetime | None) -> None:
        """Save the terminal's state when somebody was at it since the last time, at most once a minute."""
        now = self._ports.clock.now()
        if used_at is None or (self._saved_at is not None and used_at <= self._saved_at):
            return
        if self._saved_at is not None and now - self._saved_at < SAVE_INTERVAL:
            return
        self._saved_at = now
        await self._ports.runtime.save_terminal(environment.id)
