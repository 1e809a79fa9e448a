"""Waiting for a condition instead of for a time."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def until(look: Callable[[], T], what: str, patience_s: float = 15.0) -> T:
    """Return what ``look`` gives as soon as it is true; fails when that does not happen within ``patience_s``."""
    try:
        async with asyncio.timeout(patience_s):
            while True:
                found = look()
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {patience_s:g} s") from None
