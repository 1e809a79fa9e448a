"""The lease of one environment: taken, kept, given up. At most one process drives an environment."""

import asyncio
import logging
from collections.abc import Callable

from actors.ports import Ports
from devpocket.errors import UnavailableError
from devpocket.store.port import Lease

_LOG = logging.getLogger(__name__)


class Ownership:
    """Holds, or does not hold, the lease of one environment in this process."""

    def __init__(self, ports: Ports, environment_id: str) -> None:
        self._ports = ports
        self._id = environment_id
        self._ttl_s = ports.settings.ownership.lease_ttl_s
        self.lease: Lease | None = None

    async def acquire(self) -> Lease | None:
        """Return the lease when it is, or becomes, this process's; None while another holds it."""
        if self.lease is None:
            self.lease = await self._ports.store.acquire_lease(self._id, self._ports.process_id, self._ttl_s)
            if self.lease is not None:
                self._ports.metrics.lease_taken(over=self.lease.is_inherited)
        return self.lease

    async def keep(self, lease: Lease, lost: Callable[[], None]) -> None:
        """Renew ``lease`` for as long as it is held; call ``lost`` when it has been lost. Cancelling is safe.

        A store that does not answer is asked again until the lease has run out by this process's own clock.
        """
        while True:
            await asyncio.sleep(self._ttl_s / 3)
            if self.lease is None or self.lease.fence != lease.fence:
                return  # given up meanwhile, perhaps taken anew
            renewed = await self._renewed(self.lease)
            if self.lease is None or self.lease.fence != lease.fence:
                return
            self.lease = renewed
            if renewed is None:
                self._ports.metrics.lease_lost()
                lost()
                return

    async def _renewed(self, lease: Lease) -> Lease | None:
        try:
            return await self._ports.store.renew_lease(lease, self._ttl_s)
        except UnavailableError as error:
            if self._ports.clock.now() < lease.held_until:
                return lease
            _LOG.warning("environment %s: lease cannot be renewed: %s", self._id, error)
            return None

    async def release(self) -> None:
        """Give the lease up, so that another process may have it at once. Does nothing without one."""
        lease, self.lease = self.lease, None
        if lease is None:
            return
        self._ports.metrics.lease_released()
        try:
            await self._ports.store.release_lease(lease)
        except UnavailableError as error:
            _LOG.warning("environment %s: lease not released, it runs out by itself: %s", self._id, error)

    def forget(self) -> None:
        """Drop a lease that has been lost or removed."""
        if self.lease is not None:
            self.lease = None
            self._ports.metrics.lease_released()
