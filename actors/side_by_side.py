"""Asking many things at once, but not all at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

AT_ONCE = 50

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


async def side_by_side(questions: Sequence[_Question], ask: Callable[[_Question], Awaitable[_Answer]]) -> list[_Answer]:
    """Return the answers in the order of the questions; at most 50 are under way. The first error ends it."""
    answers: list[_Answer] = []
    for start in range(0, len(questions), AT_ONCE):
        answers += await asyncio.gather(*(ask(each) for each in questions[start : start + AT_ONCE]))
    return answers
