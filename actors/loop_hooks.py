"""Running what an actor's author wrote, and telling a failure from the end of the actor."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from actors.loop_errors import AwaitCancelledError


def as_failure(raised: BaseException) -> Exception | None:
    """Return what a handler or hook raised as an ordinary failure, or None if it ends the actor.

    Pykka ends *every* actor on a bare ``BaseException``, and ``CancelledError`` is one: it ends this actor alone if it
    is this task that is being cancelled, and is a failure like any other if something awaited was.
    """
    if isinstance(raised, Exception):
        return raised
    task = asyncio.current_task()
    if isinstance(raised, asyncio.CancelledError) and task is not None and not task.cancelling():
        failure = AwaitCancelledError("Something that was awaited here was cancelled")
        failure.__cause__ = raised
        return failure.with_traceback(raised.__traceback__)
    return None


async def run_hook(hook: Callable[..., Any], *args: Any) -> Exception | None:
    """Run a hook, sync or not, and return how it failed."""
    try:
        result = hook(*args)
        if inspect.iscoroutine(result):
            await result
    except BaseException as raised:
        failure = as_failure(raised)
        if failure is None:
            raise
        return failure
    return None
