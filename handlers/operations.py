"""What a verb of a handler says of itself: who may call it, what it takes, what it gives.

``@operation`` stands over every verb. It is the only place that names permission, schemas and statuses, so what is
checked, what is answered and what the OpenAPI description promises cannot differ.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from devpocket.auth.permissions import Permission, permission
from devpocket.errors import DevPocketError, UnavailableError
from devpocket.schemas.wire import WireSchema
from handlers.refusals import refusal

DEADLINE_S = 25.0
"""The app hangs up after 30 s; no answer takes longer than this."""
PUBLIC: Final = "public"
"""In place of a permission: nobody needs to be signed in."""

Verb: TypeAlias = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb of one route."""

    summary: str
    permission: Permission | None
    """None: public."""
    status: int
    answer: WireSchema | None
    """None: an empty body, or one that is not JSON."""
    many: bool
    body: WireSchema | None
    query: WireSchema | None
    refuses: frozenset[int]
    """Statuses of refusals beyond those that follow from the rest."""
    counts: str | None
    """From which bucket of the caller's address it takes: ``auth`` for sign-in calls, ``other``, or none."""
    content_type: str


def operation(
    summary: str,
    *,
    allow: str,
    answer: type[WireSchema] | None = None,
    many: bool = False,
    status: int = 200,
    body: type[WireSchema] | None = None,
    query: type[WireSchema] | None = None,
    refuses: tuple[int, ...] = (),
    counts: str | None = None,
    content_type: str = "application/json",
) -> Callable[[Verb], Verb]:
    """Mark a verb with what it is, and run it under a deadline with its refusals turned into HTTP.

    ``allow`` is :data:`PUBLIC` or the name of a permission. Raises ``ValueError`` at import for an unknown one.
    """
    described = Operation(
        summary=summary,
        permission=None if allow == PUBLIC else permission(allow),
        status=status,
        answer=answer(many=many) if answer else None,
        many=many,
        body=body() if body else None,
        query=query() if query else None,
        refuses=frozenset(refuses),
        counts=counts,
        content_type=content_type,
    )

    def decorate(verb: Verb) -> Verb:
        @functools.wraps(verb)
        async def run(handler: Any, *path: str) -> None:
            try:
                handler.begin()
                async with asyncio.timeout(DEADLINE_S):
                    await verb(handler, *path)
            except DevPocketError as error:
                raise refusal(error) from error
            except TimeoutError as error:
                raise refusal(late()) from error

        run.operation = described  # type: ignore[attr-defined]
        return run

    return decorate


def operation_of(verb: Any) -> Operation | None:
    """Return what ``@operation`` said of a verb, or None for one that it does not stand over."""
    return getattr(verb, "operation", None)


def late() -> UnavailableError:
    """Return the refusal for a request that ran into its deadline."""
    return UnavailableError("This takes longer than expected. Try again in a moment.", code="timeout", retry_after_s=5)
