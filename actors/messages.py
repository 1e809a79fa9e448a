"""Every message that an actor takes: imperative, frozen, each naming the type of its reply.

A :class:`UserActor` is keyed by user id and an :class:`EnvironmentActor` by environment id, so messages carry neither
key. Errors are those of :mod:`devpocket.errors`; what is said per message is what is not obvious.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from actors.dispatch import Message
from actors.origin import Origin
from devpocket.domain.environments import Environment, EnvironmentStatus
from devpocket.domain.events import EnvironmentEvent
from devpocket.domain.templates import Wish
from devpocket.domain.terminals import TerminalSize
from devpocket.domain.users import Session, User
from devpocket.ids import SessionId, UserId
from devpocket.runtime.port import Terminal, Usage


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: an active user in a live session, from an address, with a device."""

    user: User
    session_id: SessionId
    address: str = ""
    device: str = ""

    @property
    def origin(self) -> Origin:
        """Where the request comes from."""
        return Origin(self.address, self.device)


@dataclass(frozen=True, slots=True)
class SignIn:
    """A signed-in user and the two tokens."""

    user: User
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_s: int = 0


@dataclass(frozen=True, slots=True)
class RateLimitVerdict:
    """The state of a token bucket after taking from it."""

    allowed: bool
    limit: int
    remaining: int
    reset_at: datetime
    retry_after_s: float = 0.0


class SocketKind(StrEnum):
    """What a WebSocket is for."""

    TERMINAL = "terminal"
    LOGS = "logs"


# --- to a UserActor ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuthenticateSession(Message[Caller]):
    """Answer who this is; UnauthenticatedError for an ended session or an inactive user."""

    session_id: SessionId
    origin: Origin


@dataclass(frozen=True, slots=True)
class TakeRequest(Message[RateLimitVerdict]):
    """Take one request from the user's bucket."""


@dataclass(frozen=True, slots=True)
class CreateEnvironment(Message[Environment]):
    """Reserve a slot and write the environment; the rest goes on in the background.

    NotFoundError for an unknown template, PermissionDeniedError over the plan or unverified, ConflictError for a
    taken name.
    """

    template: str
    """A template's id or its name."""
    wish: Wish


@dataclass(frozen=True, slots=True)
class ListEnvironments(Message[Sequence[Environment]]):
    """Return the user's environments, last changed first."""

    status: EnvironmentStatus | None = None
    template: str | None = None
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True)
class UpdateProfile(Message[User]):
    """Change what is in ``changes`` (full_name, username, avatar_url, preferred_region); ConflictError: name taken."""

    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChangePassword(Message[None]):
    """Set another password and end the other sessions.

    ValidationError for a wrong current one, RateLimitedError after too many of those.
    """

    caller: Caller
    current_password: str
    new_password: str


@dataclass(frozen=True, slots=True)
class VerifyEmail(Message[User]):
    """Match the six digits (or the link's token) against this user; a verified one is answered as such."""

    caller: Caller
    code: str


@dataclass(frozen=True, slots=True)
class ResendVerification(Message[None]):
    """Mail another code; InvalidStateError when verified already, RateLimitedError within 60 s of the last."""


@dataclass(frozen=True, slots=True)
class DeleteAccount(Message[None]):
    """Remove everything of the user; environments go in the background, also when a runtime is down for a while."""

    caller: Caller


@dataclass(frozen=True, slots=True)
class UserStats:
    """Counts over a user's environments and sessions."""

    total_environments: int
    environments_by_status: Mapping[str, int]
    active_sessions: int
    environments_limit: int
    created_last_7_days: int
    created_last_30_days: int
    active_last_7_days: int


@dataclass(frozen=True, slots=True)
class GetUserStats(Message[UserStats]):
    """Count."""


@dataclass(frozen=True, slots=True)
class ListSessions(Message[Sequence[Session]]):
    """Return the live sessions, last used first."""


@dataclass(frozen=True, slots=True)
class EndSession(Message[None]):
    """End one session: its tokens stop working, its sockets close. NotFoundError for none of this user's."""

    session_id: SessionId
    caller: Caller


@dataclass(frozen=True, slots=True)
class EndSessions(Message[int]):
    """End all sessions, or all but ``keep``; answers how many."""

    caller: Caller
    keep: SessionId | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """One line of the audit trail."""

    action: str
    at: datetime
    address: str
    device: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ListActivity(Message[Sequence[Activity]]):
    """Return the newest lines of the user's audit trail."""

    limit: int = 50
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenSocket(Message[None]):
    """Count a socket in; PermissionDeniedError over the limit. ``close`` is called when its session ends.

    It is counted out by :class:`CloseSocket`, and should that be lost, once ``is_gone``.
    """

    socket_id: str
    session_id: SessionId
    close: Callable[[int, str], None]
    is_gone: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class CloseSocket(Message[None]):
    """Count a socket out; an unknown one is ignored."""

    socket_id: str


# --- to an EnvironmentActor ----------------------------------------------------------------------------------------
# Each carries the asking user: an environment of somebody else is NotFoundError, as an unknown one is.


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    """An environment with its present figures (None while it does not run)."""

    environment: Environment
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class GetEnvironment(Message[EnvironmentView]):
    """Return it."""

    user_id: UserId


@dataclass(frozen=True, slots=True)
class UpdateEnvironment(Message[EnvironmentView]):
    """Change ``name``, ``description``, ``cpu``, ``memory``, ``storage``, ``max_instances`` or ``variables``.

    ``variables`` replaces the user's own; a value of None removes that name. ConflictError: the name is taken.
    """

    user_id: UserId
    changes: Mapping[str, Any]


class Command(StrEnum):
    """What a user may ask of an environment."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    RECOVER = "recover"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class CommandEnvironment(Message[Environment]):
    """Change what is wanted and answer at once; InvalidStateError when the command does not fit the phase."""

    user_id: UserId
    command: Command


@dataclass(frozen=True, slots=True)
class MetricsBucket:
    """Averages over one span of time."""

    at: datetime
    cpu_percent: float | None
    memory_percent: float | None
    storage_percent: float | None
    network_received_bytes: int | None
    network_sent_bytes: int | None


@dataclass(frozen=True, slots=True)
class EnvironmentMetrics:
    """Present figures and their history."""

    usage: Usage | None
    history: Sequence[MetricsBucket]
    bucket: timedelta


@dataclass(frozen=True, slots=True)
class GetMetrics(Message[EnvironmentMetrics]):
    """Return figures now and over the last ``hours`` (1 to 168)."""

    user_id: UserId
    hours: int = 1


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the life-cycle and installation log."""

    at: datetime
    level: str
    message: str
    source: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """The newest lines, oldest of them first."""

    environment_name: str
    lines: Sequence[LogLine]
    total: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class GetLogs(Message[LogPage]):
    """Return the newest ``lines`` (1 to 1000) written at or after ``since``."""

    user_id: UserId
    lines: int = 100
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class WatchEnvironment(Message[Environment]):
    """Call ``listener`` with every event from now on; answers the environment as of now.

    The listener is called on the loop, must not block, and must not raise.
    """

    user_id: UserId
    watcher_id: str
    listener: Callable[[EnvironmentEvent], None]


@dataclass(frozen=True, slots=True)
class UnwatchEnvironment(Message[None]):
    """Stop calling; an unknown watcher is ignored."""

    watcher_id: str


@dataclass(frozen=True, slots=True)
class AttachTerminal(Message[Callable[[], Awaitable[Terminal]]]):
    """Let a tmux client be attached; InvalidStateError while it does not run. The reply attaches it.

    That may take long where a terminal hangs, so it is done by whoever asked, who closes the terminal and tells of
    its end, also when there never was one. Without a ``size`` it takes that of the session as it is.
    """

    user_id: UserId
    attachment_id: str
    size: TerminalSize | None
    address: str
    device: str


@dataclass(frozen=True, slots=True)
class DetachTerminal(Message[None]):
    """The terminal was closed; an unknown one is ignored."""

    attachment_id: str


@dataclass(frozen=True, slots=True)
class NoteActivity(Message[None]):
    """Somebody typed or read: the idle clock starts anew. Sent at most every few seconds."""

    at: datetime
