"""What handlers ask: actors by their key, and the services that need none."""

from dataclasses import dataclass

from actors.accounts import Accounts
from actors.clusters import Clusters
from actors.directory import Directory
from actors.health import Health
from actors.messages import RateLimitVerdict
from actors.rate_limits import RateLimits
from actors.settling import Settling
from actors.templates import Templates
from devpocket.clock import Clock
from devpocket.ids import EnvironmentId, UserId
from devpocket.metrics import Metrics
from devpocket.settings import Settings


@dataclass(frozen=True, slots=True)
class Backend:
    """One process's actors and services."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    users: Directory[UserId]
    environments: Directory[EnvironmentId]
    accounts: Accounts
    templates: Templates
    clusters: Clusters
    health: Health
    limits: RateLimits
    settling: Settling

    async def take_anonymous(self, kind: str, address: str) -> RateLimitVerdict:
        """Take one request of an address from its bucket for ``kind`` (``auth``, or any other call)."""
        return await self.limits.take_for_address(address, is_auth=kind == "auth")
