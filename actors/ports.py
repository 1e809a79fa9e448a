"""What actors and services are given: the ports and what goes with them."""

from dataclasses import dataclass

from devpocket.bus.port import Bus
from devpocket.clock import Clock
from devpocket.domain.plans import Plans
from devpocket.ids import ProcessId
from devpocket.metrics import Metrics
from devpocket.runtime.port import Runtime
from devpocket.settings import Settings
from devpocket.store.port import Store


@dataclass(frozen=True, slots=True)
class Ports:
    """The three ports, the clock, the settings and the figures of one process."""

    settings: Settings
    clock: Clock
    store: Store
    bus: Bus
    runtime: Runtime
    metrics: Metrics
    plans: Plans
    process_id: ProcessId
