"""Errors become statuses in one table, and all refusals have one body."""

from datetime import UTC, datetime

import pytest

from devpocket import errors
from devpocket.runtime.errors import DriverError
from devpocket.schemas.service import ErrorAnswer
from handlers.refusals import body_of, refusal, retry_after_s, status_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ValidationError("x"), 422),
        (errors.ValidationError("x", code="wrong_password"), 400),
        (errors.ValidationError("x", code="wrong_code"), 400),
        (errors.MalformedRequestError("x"), 400),
        (errors.UnauthenticatedError("x"), 401),
        (errors.PermissionDeniedError("x"), 403),
        (errors.NotFoundError("x"), 404),
        (errors.ConflictError("x"), 409),
        (errors.InvalidStateError("x"), 400),
        (errors.PayloadTooLargeError("x"), 413),
        (errors.RateLimitedError("x"), 429),
        (errors.UnavailableError("x"), 503),
        (DriverError("x"), 503),
    ],
)
def test_each_error_has_its_status(error: errors.DevPocketError, status: int) -> None:
    assert status_of(error) == status
    assert refusal(error).status_code == status


def test_a_subclass_has_the_status_of_its_nearest_ancestor() -> None:
    class OutOfSpaceError(errors.UnavailableError):
        """A kind that the table does not name."""

    assert status_of(OutOfSpaceError("x")) == 503


def test_the_body_is_what_the_app_parses() -> None:
    problem = errors.FieldProblem("password", "Use a digit.", "digit")
    error = errors.ValidationError("password: Use a digit.", [problem])
    body = body_of(422, error, now=NOW, path="/api/v1/auth/register", request_id="abc")
    assert body == {
        "detail": "password: Use a digit.",
        "code": "invalid_request",
        "context": {"request_id": "abc"},
        "errors": [{"field": "password", "message": "Use a digit.", "code": "digit"}],
        "timestamp": "2026-01-31T12:00:00.000Z",
        "path": "/api/v1/auth/register",
    }


def test_details_for_the_log_stay_in_the_log() -> None:
    error = errors.UnavailableError("Try again.", detail="mongodb://admin:hunter2@db")
    assert "hunter2" not in str(body_of(503, error, now=NOW, path="/", request_id=""))


def test_an_unexpected_error_says_nothing_of_itself() -> None:
    body = body_of(500, RuntimeError("secret of the house"), now=NOW, path="/", request_id="")
    assert "secret" not in str(body)
    assert body["code"] == "internal_error"


@pytest.mark.parametrize("status", [400, 404, 405, 408, 411, 413, 418, 426, 431, 500, 599])
def test_every_status_has_a_sentence(status: int) -> None:
    body = body_of(status, None, now=NOW, path="/", request_id="")
    assert body["detail"].endswith(".")
    assert body["code"]
    assert set(ErrorAnswer().fields) <= set(body)


@pytest.mark.parametrize(("wait_s", "told"), [(None, 1), (0.2, 1), (1.2, 2), (59.5, 60), (3600, 60)])
def test_retry_after_is_whole_seconds_up_to_a_minute(wait_s: float | None, told: int) -> None:
    error = errors.RateLimitedError("x", retry_after_s=wait_s)
    assert retry_after_s(error) == told
    assert body_of(429, error, now=NOW, path="/", request_id="")["retry_after"] == told
