"""All WebSockets of this process, for whoever stops it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

CLOSE_DEADLINE_S = 5.0


class Closable(Protocol):
    """An open socket."""

    @property
    def life(self) -> "asyncio.Task[None] | None":
        """The task that ends when everything the socket held has been given back."""
        ...

    def say_goodbye(self, code: int, reason: str, message: str, retry_after_s: int) -> None:
        """Tell the client when to come back, close, and begin to give back what is held; does not wait."""
        ...


class SocketRegistry:
    """Knows the open sockets; belongs to the composition root."""

    def __init__(self) -> None:
        self._sockets: set[Closable] = set()
        self._finishing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, socket: Closable) -> None:
        """Note an open socket."""
        self._sockets.add(socket)

    def discard(self, socket: Closable) -> None:
        """Forget a socket; one that is not known is no mistake."""
        self._sockets.discard(socket)

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` that outlives its socket; :meth:`close_all` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def close_all(
        self, code: int, reason: str, message: str, *, retry_after_s: int = 2, deadline_s: float = CLOSE_DEADLINE_S
    ) -> None:
        """Tell every client why and when to come back, close, and wait until all is given back.

        Terminals detach side by side. What is not done after ``deadline_s`` is cancelled. Safe to cancel; call it
        again to go on.
        """
        sockets = list(self._sockets)
        for socket in sockets:
            socket.say_goodbye(code, reason, message, retry_after_s)
        lives = [*(socket.life for socket in sockets if socket.life is not None), *self._finishing]
        if lives:
            await asyncio.wait(lives, timeout=deadline_s)
