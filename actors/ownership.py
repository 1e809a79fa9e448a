"""The lease of one environment: taken, kept, given up. At most one process drives an environment."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

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

    @property
    def has_run_out(self) -> bool:
        """Whether there is no lease, or it has ended by this process's clock: the process may have been paused."""
        return self.lease is None or self._ports.clock.now() >= self.lease.held_until

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
        left_s = (lease.held_until - self._ports.clock.now()).total_seconds()
        if left_s <= 0:
            return None  # others may have it already, so not another moment is spent on asking
        try:
            async with asyncio.timeout(left_s):
                return await self._ports.store.renew_lease(lease, self._ttl_s)
        except UnavailableError:
            return lease
        except TimeoutError:
            _LOG.warning("environment %s: the lease could not be renewed in time", self._id)
            return None

    async def hand_over(self) -> None:
        """Give the lease up for another process to go on at once, told or not. Does nothing without one."""
        await self._give_up(lambda lease: self._ports.store.release_lease(lease, unfinished=True))

    async def release(self) -> None:
        """Give the lease up because there is nothing to drive any more. Does nothing without one."""
        await self._give_up(self._ports.store.release_lease)

    async def _give_up(self, end: Callable[[Lease], Awaitable[object]]) -> None:
        lease = self.lease
        if lease is None:
            return
        self.forget()
        try:
            await end(lease)
        except UnavailableError as error:
            _LOG.warning("environment %s: lease not given up, it runs out by itself: %s", self._id, error)

    def forget(self) -> None:
        """Drop a lease that has been lost or removed."""
        if self.lease is not None:
            self.lease = None
            self._ports.metrics.lease_released()
