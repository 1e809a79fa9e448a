"""Work that nobody waits for, owned by somebody who ends it."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from devpocket.errors import DevPocketError

MAXIMUM_TASKS = 1000

_LOG = logging.getLogger(__name__)


class Background:
    """A bounded set of tasks; closed once by whoever made it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run ``work``; what it raises is logged. Over the bound it is dropped with an error in the log."""
        if len(self._tasks) >= MAXIMUM_TASKS:
            work.close()
            _LOG.error("too much background work: %s is dropped", name)
            return
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self, grace_s: float) -> None:
        """Give what runs ``grace_s`` to end, then cancel it."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        refusal = isinstance(error, DevPocketError)
        _LOG.error("background work %s failed: %s", task.get_name(), error, exc_info=None if refusal else error)
