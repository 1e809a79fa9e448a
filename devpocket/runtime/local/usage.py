"""Figures of one environment, measured: CPU and memory of its own processes, its home, its network."""

import time
from collections.abc import Set
from dataclasses import dataclass

from devpocket.clock import Clock
from devpocket.ids import EnvironmentId
from devpocket.runtime.local.accounting import ProcessFinder, network_bytes, sum_up
from devpocket.runtime.local.cgroups import Cgroups
from devpocket.runtime.local.record import EnvironmentRecord, SandboxRecord
from devpocket.runtime.port import Usage
from devpocket.settings import LocalNetwork


@dataclass(frozen=True, slots=True)
class _CpuReading:
    init: int
    at_s: float
    cpu_s: float


class UsageMeter:
    """Turns readings into percentages; remembers the last CPU reading of each environment that is asked for."""

    def __init__(self, find: ProcessFinder, cgroups: Cgroups, clock: Clock) -> None:
        self._find = find
        self._cgroups = cgroups
        self._clock = clock
        self._readings: dict[EnvironmentId, _CpuReading] = {}

    def read(
        self,
        environment_id: EnvironmentId,
        record: EnvironmentRecord,
        sandbox: SandboxRecord,
        storage_bytes: int | None,
    ) -> Usage:
        """Return present figures. Blocks for some milliseconds: call it off the loop."""
        cpu_s = self._cgroups.cpu_s(environment_id)
        memory = self._cgroups.memory_bytes(environment_id)
        sums = sum_up(self._find(environment_id, sandbox), sandbox.init.pid, exact=memory is None)
        memory = sums.memory_bytes if memory is None else memory
        network = network_bytes(sandbox.init.pid) if sandbox.network == LocalNetwork.PRIVATE else None
        now = self._clock.now()
        return Usage(
            measured_at=now,
            cpu_percent=self._cpu_percent(environment_id, record, sandbox, sums.cpu_s if cpu_s is None else cpu_s),
            memory_percent=_percent(memory, record.limits.memory_bytes),
            storage_percent=None if storage_bytes is None else _percent(storage_bytes, record.limits.storage_bytes),
            memory_bytes=memory,
            storage_bytes=storage_bytes,
            processes=sums.processes,
            network_received_bytes=network[0] if network else None,
            network_sent_bytes=network[1] if network else None,
            uptime_s=max((now - sandbox.started_at).total_seconds(), 0.0),
        )

    def _cpu_percent(
        self, environment_id: EnvironmentId, record: EnvironmentRecord, sandbox: SandboxRecord, cpu_s: float
    ) -> float | None:
        """Return the share since the last reading; None for the first one of a sandbox."""
        reading = _CpuReading(sandbox.init.pid, time.monotonic(), cpu_s)
        last = self._readings.get(environment_id)
        self._readings[environment_id] = reading
        if last is None or last.init != reading.init or reading.at_s <= last.at_s:
            return None
        # Processes whose parents did not wait for them take their time with them: never less than nothing.
        used_s = max(reading.cpu_s - last.cpu_s, 0.0)
        return _percent(used_s / (reading.at_s - last.at_s) * 1000, max(record.limits.cpu_millis, 1))

    def forget_others(self, environment_ids: Set[EnvironmentId]) -> None:
        """Forget all readings but those of these: another process may have ended some."""
        for environment_id in set(self._readings) - environment_ids:
            self.forget(environment_id)

    def forget(self, environment_id: EnvironmentId) -> None:
        """Forget the last reading of an environment that has ended."""
        self._readings.pop(environment_id, None)


def _percent(part: float, whole: float) -> float:
    return round(part / whole * 100, 2) if whole else 0.0
