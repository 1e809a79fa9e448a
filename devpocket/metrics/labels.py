"""The closed sets that label values are taken from."""

from enum import StrEnum


class StatusClass(StrEnum):
    """The first digit of an answer's status."""

    INFORMATION = "1xx"
    SUCCESS = "2xx"
    REDIRECTION = "3xx"
    CLIENT_ERROR = "4xx"
    SERVER_ERROR = "5xx"


class CallOutcome(StrEnum):
    """How a call to a driver ended."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    """The driver cannot do what was asked; a sentence for the user."""
    UNAVAILABLE = "unavailable"
    """The runtime did not answer."""
    FAILED = "failed"
    """A defect: something that nobody expected."""
    CANCELLED = "cancelled"


class MessageOutcome(StrEnum):
    """How an actor's message ended."""

    HANDLED = "handled"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    INTERRUPTED = "interrupted"


class LeaseEvent(StrEnum):
    """What became of the lease of an environment."""

    TAKEN = "taken"
    TAKEN_OVER = "taken_over"
    RELEASED = "released"
    LOST = "lost"


class OpenSocket(StrEnum):
    """What an open socket carries."""

    TERMINAL = "terminal"
    LOGS = "logs"


class Direction(StrEnum):
    """Which way bytes go, seen from the environment."""

    IN = "in"
    OUT = "out"


class LimitKind(StrEnum):
    """Which limit said no."""

    REQUESTS = "requests"
    SIGN_IN = "sign_in"
    LOCKOUT = "lockout"
    SOCKETS = "sockets"
    ENVIRONMENTS = "environments"
    RESOURCES = "resources"
    TERMINAL_INPUT = "terminal_input"
    """Slowed, not refused."""
    MAIL = "mail"


class SweepKind(StrEnum):
    """What is looked for at intervals."""

    UNSETTLED = "unsettled"
    """Environments on their way somewhere that no process drives."""
    STUCK = "stuck"
    """Environments in a phase beyond its deadline."""
    UNOWNED = "unowned"
    """Running environments that no process looks after."""
    ORPHANS = "orphans"
    """Sandboxes without a document, documents without a sandbox."""
    SLOTS = "slots"
    """Slots of plans taken for environments that were never written down."""
    TERMINALS = "terminals"
    """Terminal sessions whose process died."""
    ACCOUNTS = "accounts"
    """Accounts whose removal was cut short."""
    IDLE = "idle"
    """Environments stopped because nobody used them."""


class MailOutcome(StrEnum):
    """What became of a mail."""

    SENT = "sent"
    WRITTEN = "written"
    """Into a file, because there is no mail server."""
    RETRIED = "retried"
    DROPPED = "dropped"
