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
        if self._usage is None or self._is_over(self._usage.measured_at, FRESH_FOR):
            self._usage = await self._ports.runtime.usage(environment.id)
        return self._usage

    async def sample(self, environment: Environment, *, is_watched: bool) -> None:
        """Keep a sample when one is due: more often while somebody watches."""
        settings = self._ports.settings.ownership
        interval_s = settings.watched_sample_interval_s if is_watched else settings.sample_interval_s
        if not self._is_over(self._sampled_at, timedelta(seconds=interval_s)):
            return
        self._sampled_at = self._ports.clock.now()
        usage = await self.usage(environment)
        if usage is not None and usage.measured_at != self._kept_at:
            self._kept_at = usage.measured_at
            self._samples.add(environment.id, usage)

    def is_save_due(self, used_at: datetime | None) -> bool:
        """Tell whether to save the terminal's state now: somebody was at it since the last time, a minute ago."""
        if used_at is None or (self._saved_at is not None and used_at <= self._saved_at):
            return False
        if not self._is_over(self._saved_at, SAVE_INTERVAL):
            return False
        self._saved_at = self._ports.clock.now()
        return True

    def _is_over(self, at: datetime | None, span: timedelta) -> bool:
        """Tell whether ``span`` has passed since ``at``; also when the clock was set back, which would make it last."""
        return at is None or not timedelta(0) <= self._ports.clock.now() - at < span
