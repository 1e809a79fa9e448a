"""Samples of use, gathered over all environments of a process and written together."""

import logging
from datetime import timedelta

from devpocket.clock import Clock
from devpocket.errors import UnavailableError
from devpocket.ids import new_id
from devpocket.runtime.port import Usage
from devpocket.store.errors import DuplicateKeyError
from devpocket.store.port import Document, Store

WRITE_INTERVAL_S = 2.0
MAXIMUM_WAITING = 5000
"""Samples kept while the store is away; the oldest are given up first."""

_LOG = logging.getLogger(__name__)


class Samples:
    """A buffer with one writer: the supervisor, which calls :meth:`flush` again and again, and at the end."""

    def __init__(self, store: Store, clock: Clock, ttl_s: float) -> None:
        self._store = store
        self._clock = clock
        self._ttl = timedelta(seconds=ttl_s)
        self._waiting: dict[str, Document] = {}

    def add(self, environment_id: str, usage: Usage) -> None:
        """Take a sample; it is written within a few seconds."""
        sample_id = new_id()
        self._waiting[sample_id] = {
            "_id": sample_id,
            "environment_id": environment_id,
            "at": usage.measured_at,
            "cpu_percent": usage.cpu_percent,
            "memory_percent": usage.memory_percent,
            "storage_percent": usage.storage_percent,
            "network_in_bytes": usage.network_received_bytes,
            "network_out_bytes": usage.network_sent_bytes,
            "expires_at": usage.measured_at + self._ttl,
        }
        while len(self._waiting) > MAXIMUM_WAITING:
            del self._waiting[next(iter(self._waiting))]

    async def flush(self) -> None:
        """Write what has gathered. While the store is away it is kept for the next time; otherwise it is done with.

        Cancelling is safe: what may have been written is offered once more, under the same ids.
        """
        batch = list(self._waiting.values())
        if not batch:
            return
        try:
            await self._store.metrics.insert_many(batch)
        except UnavailableError as error:
            _LOG.warning("%d samples are not written yet: %s", len(batch), error)
            return
        except DuplicateKeyError:
            _LOG.info("some of %d samples had been written before; now all are", len(batch))
        for sample in batch:
            self._waiting.pop(sample["_id"], None)
