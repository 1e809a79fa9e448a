"""Taking turns: of those who do the same thing with the same name, one at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from devpocket.errors import RateLimitedError


class Turns:
    """One lock per key, kept only while somebody holds it or waits; used on one event loop."""

    def __init__(self, waiting_limit: int = 64) -> None:
        self._waiting_limit = waiting_limit
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Wait until nobody else is inside with ``key``, in the order of coming. Cancelling is safe.

        Raises :class:`RateLimitedError` when too many wait for this key already.
        """
        users = self._users.get(key, 0)
        if users > self._waiting_limit:
            raise RateLimitedError("Too many attempts at once. Please try again in a few seconds.", retry_after_s=5)
        self._users[key] = users + 1
        try:
            async with self._locks.setdefault(key, asyncio.Lock()):
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]
