"""How many requests a user, or an address, may make; counted over all processes."""

import math
from dataclasses import dataclass
from datetime import timedelta

from actors.messages import RateLimitVerdict
from actors.ports import Ports
from devpocket.auth.lockout import network_of
from devpocket.bus.port import BucketRequest
from devpocket.domain.limits import BucketRule
from devpocket.ids import UserId
from devpocket.metrics import LimitKind


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Takes from the shared buckets."""

    ports: Ports

    async def take_for_user(self, user_id: UserId) -> RateLimitVerdict:
        """Take one request from a signed-in user's bucket."""
        return await self._take(f"user:{user_id}", is_auth=False)

    async def take_for_address(self, address: str, *, is_auth: bool) -> RateLimitVerdict:
        """Take one request from an address's bucket: that of sign-in calls and the like, or that of all others."""
        kind = "auth" if is_auth else "address"
        return await self._take(f"{kind}:{network_of(address)}", is_auth=is_auth)

    def _rule(self, *, is_auth: bool) -> BucketRule:
        limits = self.ports.settings.limits
        if is_auth:
            return BucketRule.per_window(limits.auth_max_requests, limits.auth_window_s)
        return BucketRule.per_window(limits.max_requests, limits.window_s)

    async def _take(self, key: str, *, is_auth: bool) -> RateLimitVerdict:
        rule = self._rule(is_auth=is_auth)
        (taken,) = await self.ports.bus.take([BucketRequest(key, rule)])
        if not taken.allowed:
            self.ports.metrics.limit_refused(LimitKind.SIGN_IN if is_auth else LimitKind.REQUESTS)
        return RateLimitVerdict(
            allowed=taken.allowed,
            limit=int(rule.capacity),
            remaining=max(math.floor(taken.remaining), 0),
            reset_at=self.ports.clock.now() + timedelta(seconds=taken.reset_after_s),
            retry_after_s=taken.retry_after_s,
        )
