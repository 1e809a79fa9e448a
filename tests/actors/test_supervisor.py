"""The tasks of a process that belong to no single actor go on, whatever happens to them."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from actors import supervisor
from actors.directory import Directory
from actors.ports import Ports
from actors.samples import Samples
from actors.supervisor import Supervisor
from actors.sweeps import Sweeps
from devpocket.bus.memory import MemoryBus
from devpocket.errors import UnavailableError
from devpocket.ids import EnvironmentId, UserId
from devpocket.metrics import SweepKind


class Failing:
    """Store and sweeps of which each call fails the first time, with what nobody expects."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.all_again = asyncio.Event()

    def _called(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        if len(self.calls) == 2 and all(count > 1 for count in self.calls.values()):
            self.all_again.set()
        if self.calls[name] == 1:
            raise ValueError("a defect")

    async def acquire_lease(self, *_: object) -> None:
        self._called("acquire_lease")

    async def count_phases(self) -> None:
        self._called("count_phases")

    async def run(self, _sweep: SweepKind) -> None:
        """Catches its own."""

    async def live_leases(self, _ids: object) -> dict[str, object]:
        raise UnavailableError("The database does not answer.")


async def test_a_defect_does_not_end_them(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(supervisor, "COUNT_INTERVAL_S", 0.01)
    failing = Failing()
    ownership = SimpleNamespace(lease_ttl_s=0.03, sweep_interval_s=1.0, orphan_sweep_interval_s=1.0)
    settings = SimpleNamespace(ownership=ownership)
    ports = cast("Ports", SimpleNamespace(settings=settings, store=failing, bus=MemoryBus(), process_id="p"))
    users: Directory[UserId] = Directory(lambda _: None)  # type: ignore[arg-type, return-value]  # none is made
    environments: Directory[EnvironmentId] = Directory(lambda _: None)  # type: ignore[arg-type, return-value]
    samples = Samples(None, None, 1.0)  # type: ignore[arg-type]  # there are none
    looking = Supervisor(ports, users, environments, samples, cast("Sweeps", failing))
    await looking.start()
    try:
        async with asyncio.timeout(5):
            await failing.all_again.wait()
    finally:
        await looking.stop(1.0)
    assert {record.getMessage() for record in caplog.records} >= {"count environments failed", "show life failed"}
