"""The one table from errors to HTTP, and the body that every refusal has."""

import math
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from tornado.web import HTTPError

from devpocket import errors
from devpocket.domain.limits import MAX_RETRY_AFTER_S
from devpocket.runtime.errors import DriverError
from devpocket.schemas.wire import wire_time

STATUS_OF: Mapping[type[errors.DevPocketError], int] = {
    errors.ValidationError: 422,
    errors.MalformedRequestError: 400,
    errors.UnauthenticatedError: 401,
    errors.PermissionDeniedError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.InvalidStateError: 400,
    errors.PayloadTooLargeError: 413,
    errors.RateLimitedError: 429,
    errors.UnavailableError: 503,
    DriverError: 503,
    errors.DevPocketError: 400,
}
"""By class; the nearest ancestor counts."""

STATUS_OF_CODE: Mapping[str, int] = {
    "wrong_password": 400,
    "wrong_code": 400,
}
"""Well-formed and nevertheless wrong: the app signs its user out at 401 and hides the sentence at 422."""

_SENTENCES: Mapping[int, tuple[str, str]] = {
    400: ("This request cannot be read.", "malformed_request"),
    404: ("There is nothing at this address.", "not_found"),
    405: ("This address does not know this method.", "method_not_allowed"),
    408: ("The request took too long to arrive.", "request_timeout"),
    413: ("This is more than the server takes at once.", "payload_too_large"),
    426: ("This address speaks WebSocket only.", "upgrade_required"),
    431: ("The headers of this request are too large.", "headers_too_large"),
    500: ("Something went wrong on the server. It has been written to the log.", "internal_error"),
}


def status_of(error: errors.DevPocketError) -> int:
    """Return the HTTP status of ``error``."""
    special = STATUS_OF_CODE.get(error.code)
    return special or next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)


def refusal(error: errors.DevPocketError) -> HTTPError:
    """Return what makes Tornado answer with the status of ``error``; raise it from ``error``."""
    return HTTPError(status_of(error))


def body_of(status: int, error: BaseException | None, *, now: datetime, path: str, request_id: str) -> dict[str, Any]:
    """Return the body of a refusal: ``error`` where there is one, else a sentence for the status."""
    body: dict[str, Any] = {
        "detail": _sentence(status)[0],
        "code": _sentence(status)[1],
        "context": {"request_id": request_id},
        "errors": None,
        "timestamp": wire_time(now),
        "path": path,
    }
    if isinstance(error, errors.DevPocketError):
        body |= {"detail": error.public, "code": error.code}
    if isinstance(error, errors.ValidationError) and error.problems:
        body["errors"] = [
            {"field": problem.field, "message": problem.message, "code": problem.code} for problem in error.problems
        ]
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        body["retry_after"] = retry_after_s(error)
    return body


def retry_after_s(error: BaseException | None) -> int:
    """Return whole seconds, 1 to 60, after which to come back."""
    wait_s = error.retry_after_s if isinstance(error, errors.DevPocketError) else None
    return min(max(1, math.ceil(wait_s or 1)), MAX_RETRY_AFTER_S)


def _sentence(status: int) -> tuple[str, str]:
    known = _SENTENCES.get(status)
    if known is None:
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Refused"
        known = (f"{phrase}.", phrase.lower().replace(" ", "_"))
    return known
