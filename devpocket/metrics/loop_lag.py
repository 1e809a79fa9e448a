"""How late the event loop is: the figure that says that somebody blocks it."""

import asyncio
import contextlib
from collections.abc import Callable


class LoopLagMonitor:
    """Asks to be woken at intervals and reports how much later that was, in seconds."""

    def __init__(self, report: Callable[[float], None], interval_s: float = 0.5) -> None:
        self._report = report
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop. Starting twice is the same as once."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch(), name="event loop lag")

    async def close(self) -> None:
        """End; when it returns, the task is gone. May be called again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + self._interval_s
            await asyncio.sleep(self._interval_s)
            self._report(max(0.0, loop.time() - due_s))
