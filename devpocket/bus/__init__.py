"""Events, shared limits and held places: in memory for one process, over Redis for several."""

from devpocket.bus.memory import MemoryBus
from devpocket.bus.port import Bus
from devpocket.ids import ProcessId
from devpocket.settings import BusSettings

__all__ = ["Bus", "MemoryBus", "make_bus"]


def make_bus(settings: BusSettings, process_id: ProcessId) -> Bus:
    """Return the bus that the settings ask for, not started."""
    if settings.redis_url is None:
        return MemoryBus()
    from devpocket.bus.redis import RedisBus  # noqa: PLC0415 - a process without Redis does not load its client

    return RedisBus(settings.redis_url, process_id)
