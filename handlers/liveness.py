"""Whether a client is still there."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Liveness:
    """Remembers when a client was heard last: a message, a ping, a pong.

    While its messages are held back here it cannot be heard, so its silence is no sign then; whether it has vanished is
    for the kernel to find out (TCP_USER_TIMEOUT). Belongs to the running loop.
    """

    def __init__(self, longest_silence_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._longest_silence_s = longest_silence_s
        self._heard_s = self._loop.time()
        self._held_back = 0

    def heard(self) -> None:
        """Something came from the client."""
        self._heard_s = self._loop.time()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """While this lasts nothing more is read from the client."""
        self.heard()
        self._held_back += 1
        try:
            yield
        finally:
            self._held_back -= 1
            self.heard()

    @property
    def is_lost(self) -> bool:
        """True once the client has been silent for too long, on its own account."""
        return not self._held_back and self._loop.time() - self._heard_s > self._longest_silence_s
