"""Announcements on their way to one socket: bounded, so that a client who reads slowly costs nothing but itself."""

import asyncio
from collections import deque

from devpocket.domain.events import EnvironmentEvent

MAX_EVENTS = 2000
MAX_BYTES = 2 * 1024 * 1024
_OVERHEAD_BYTES = 200


class EventQueue:
    """First in, first out; the oldest are left out when it is full."""

    def __init__(self) -> None:
        self._events: deque[EnvironmentEvent] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self.left_out = 0
        """How many have been left out since :meth:`take_left_out`."""

    def put(self, event: EnvironmentEvent) -> None:
        """Add an event; never blocks, never raises."""
        self._events.append(event)
        self._bytes += _size(event)
        while len(self._events) > MAX_EVENTS or self._bytes > MAX_BYTES:
            self._bytes -= _size(self._events.popleft())
            self.left_out += 1
        self._arrived.set()

    async def get(self) -> EnvironmentEvent:
        """Return the next event, waiting for it; cancelling loses nothing. For one reader."""
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        event = self._events.popleft()
        self._bytes -= _size(event)
        return event

    def get_nowait(self) -> EnvironmentEvent | None:
        """Return the next event if there is one."""
        if not self._events:
            return None
        event = self._events.popleft()
        self._bytes -= _size(event)
        return event

    def take_left_out(self) -> int:
        """Return how many events have been left out since this was asked last."""
        left_out, self.left_out = self.left_out, 0
        return left_out


def _size(event: EnvironmentEvent) -> int:
    return _OVERHEAD_BYTES + sum(len(value) for value in event.data.values() if isinstance(value, str))
