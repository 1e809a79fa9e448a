"""All WebSockets of this process, for whoever stops it."""

import asyncio
import contextlib
from typing import Protocol


class Closable(Protocol):
    """An open socket."""

    @property
    def life(self) -> "asyncio.Task[None] | None":
        """The task that ends when everything the socket held has been given back."""
        ...

    def say_goodbye(self, code: int, reason: str, message: str, retry_after_s: int) -> None:
        """Tell the client when to come back, close, and begin to give back what is held; does not wait."""
        ...

    def cut(self) -> None:
        """Close the connection, whatever of what was sent has not arrived."""
        ...


class SocketRegistry:
    """Knows the sockets from their opening until they hold nothing and are connected no more.

    Belongs to the composition root, which stops them in three steps, so that what others wait for comes between.
    """

    def __init__(self) -> None:
        self._sockets: set[Closable] = set()
        self._connected: set[Closable] = set()
        self._nobody = asyncio.Event()
        self._may_detach = asyncio.Event()
        self._may_detach.set()
        self._farewell: tuple[int, str, str, int] | None = None

    def __len__(self) -> int:
        return len(self._sockets)

    @property
    def is_closing(self) -> bool:
        """True from :meth:`tell_all` on."""
        return self._farewell is not None

    def add(self, socket: Closable) -> None:
        """Note an open socket; one that comes too late is told so at once."""
        self._sockets.add(socket)
        self._connected.add(socket)
        if self._farewell is not None:
            socket.say_goodbye(*self._farewell)

    def discard(self, socket: Closable) -> None:
        """Forget a socket that holds nothing any more; one that is not known is no mistake."""
        self._sockets.discard(socket)

    def disconnected(self, socket: Closable) -> None:
        """Note that a socket's connection is closed on both sides, or broken."""
        self._connected.discard(socket)
        if not self._connected:
            self._nobody.set()

    async def may_detach(self) -> None:
        """Wait with what takes long while there is something more urgent to do. Safe to cancel."""
        await self._may_detach.wait()

    # --- the stop ----------------------------------------------------------------------------------------------------

    def tell_all(self, code: int, reason: str, message: str, *, retry_after_s: int = 2) -> None:
        """Tell every client why and when to come back, those too who still come, and close.

        What is expensive to give back is held until :meth:`detach_all`.
        """
        self._may_detach.clear()
        self._farewell = (code, reason, message, retry_after_s)
        for socket in list(self._sockets):
            socket.say_goodbye(*self._farewell)

    async def detach_all(self, deadline_s: float) -> None:
        """Wait until everything is given back, side by side, for ``deadline_s`` at most. Safe to cancel and repeat."""
        self._may_detach.set()
        lives = [socket.life for socket in self._sockets if socket.life is not None]
        if lives:
            await asyncio.wait(lives, timeout=deadline_s)

    async def disconnect_all(self, deadline_s: float) -> int:
        """Wait until clients have taken their farewell; return how many were cut because they had not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while self._connected:
                    self._nobody.clear()
                    await self._nobody.wait()
        late = list(self._connected)
        for socket in late:
            socket.cut()
        return len(late)
