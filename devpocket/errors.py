"""The error tree.

Every expected refusal is a :class:`DevPocketError`: a sentence for the person (``public``), a fixed ``code`` for
programs and metric labels, and a ``detail`` for the log alone. Nothing outside ``handlers/`` knows a status code.

    DevPocketError
     +-- ValidationError        a field of the request is wrong; carries one entry per field
     +-- UnauthenticatedError   no, a broken or an expired credential
     +-- PermissionDeniedError  known who it is, and not allowed (locked, unverified, plan limit, role)
     +-- NotFoundError          there is none, or it is somebody else's
     +-- ConflictError          a unique name is taken, or the state does not allow it
     +-- InvalidStateError      the request does not fit the present state
     +-- RateLimitedError       too many, with the time to wait
     +-- PayloadTooLargeError   more bytes than are taken
     +-- UnavailableError       a part that is needed does not answer now; worth another try
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One wrong field: its dotted path, a sentence, and a fixed code."""

    field: str
    message: str
    code: str = "invalid"


class DevPocketError(Exception):
    """A refusal that the caller can be told about.

    ``public`` is shown to people; ``detail`` goes to the log and never leaves the process.
    """

    default_code: ClassVar[str] = "error"

    def __init__(
        self,
        public: str,
        *,
        code: str | None = None,
        detail: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(public)
        self.public = public
        self.code = code or self.default_code
        self.detail = detail
        self.retry_after_s = retry_after_s


class ValidationError(DevPocketError):
    """Fields of a request that break their rules; ``problems`` names each."""

    default_code = "invalid_request"

    def __init__(self, public: str, problems: Sequence[FieldProblem] = (), *, code: str | None = None) -> None:
        super().__init__(public, code=code)
        self.problems = tuple(problems)


class MalformedRequestError(DevPocketError):
    """The request cannot be read at all (not JSON, wrong encoding)."""

    default_code = "malformed_request"


class UnauthenticatedError(DevPocketError):
    """No credential, or one that is broken, expired or revoked."""

    default_code = "unauthenticated"


class PermissionDeniedError(DevPocketError):
    """The caller is known and may not do this."""

    default_code = "permission_denied"


class NotFoundError(DevPocketError):
    """There is no such thing, or it belongs to somebody else; the two are not told apart."""

    default_code = "not_found"


class ConflictError(DevPocketError):
    """A unique value is taken, or somebody else changed the document first."""

    default_code = "conflict"


class InvalidStateError(DevPocketError):
    """The request does not fit the present state of the thing."""

    default_code = "invalid_state"


class RateLimitedError(DevPocketError):
    """Too many requests; ``retry_after_s`` says when to come back."""

    default_code = "rate_limited"


class PayloadTooLargeError(DevPocketError):
    """More bytes than are taken."""

    default_code = "payload_too_large"


class UnavailableError(DevPocketError):
    """A part that is needed does not answer now; the same request may work later."""

    default_code = "unavailable"


class ConfigurationError(Exception):
    """The settings, the machine or a part named in the settings does not allow a start; one line for the operator."""
