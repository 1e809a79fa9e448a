"""Samples of use, gathered over all environments of a process and written together."""

import asyncio
import logging
from datetime import timedelta

from devpocket.clock import Clock
from devpocket.errors import DevPocketError
from devpocket.ids import new_id
from devpocket.runtime.port import Usage
from devpocket.store.port import Document, Store

WRITE_INTERVAL_S = 2.0
MAXIMUM_WAITING = 5000
"""Samples kept while the store is away; the oldest are given up first."""

_LOG = logging.getLogger(__name__)


class Samples:
    """A buffer with one writer. Owned by the supervisor, which runs :meth:`run` and calls :meth:`flush` at the end."""

    def __init__(self, store: Store, clock: Clock, ttl_s: float) -> None:
        self._store = store
        self._clock = clock
        self._ttl = timedelta(seconds=ttl_s)
        self._waiting: list[Document] = []

    def add(self, environment_id: str, usage: Usage) -> None:
        """Take a sample; it is written within a few seconds."""
        self._waiting.append(
            {
                "_id": new_id(),
                "environment_id": environment_id,
                "at": usage.measured_at,
                "cpu_percent": usage.cpu_percent,
                "memory_percent": usage.memory_percent,
                "storage_percent": usage.storage_percent,
                "network_in_bytes": usage.network_received_bytes,
                "network_out_bytes": usage.network_sent_bytes,
                "expires_at": usage.measured_at + self._ttl,
            }
        )
        del self._waiting[:-MAXIMUM_WAITING]

    async def run(self) -> None:
        """Write what has gathered, again and again, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what has gathered; what the store does not take now is kept for the next time."""
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            await self._store.metrics.insert_many(batch)
        except DevPocketError as error:
            _LOG.warning("%d samples are not written yet: %s", len(batch), error)
            self._waiting = (batch + self._waiting)[-MAXIMUM_WAITING:]
