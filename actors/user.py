"""One actor per active user and process: cached user and sessions, request budget, open sockets, creation in turn."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from actors.account_removal import AccountRemoval
from actors.audit import Audit
from actors.codes import Codes
from actors.creation import Creation
from actors.dispatch import Message, handles
from actors.loop import LoopActor
from actors.messages import (
    Activity,
    AuthenticateSession,
    Caller,
    ChangePassword,
    CloseSocket,
    CreateEnvironment,
    DeleteAccount,
    EndSession,
    EndSessions,
    GetUserStats,
    ListActivity,
    ListEnvironments,
    ListSessions,
    OpenSocket,
    RateLimitVerdict,
    ResendVerification,
    TakeRequest,
    UpdateProfile,
    UserStats,
    VerifyEmail,
)
from actors.origin import Origin
from actors.password_change import PasswordChange
from actors.ports import Ports
from actors.rate_limits import RateLimits
from actors.sessions import Sessions
from actors.user_queries import UserQueries
from actors.user_records import UserRecords
from devpocket.domain import users as rules
from devpocket.domain.environments import Environment
from devpocket.domain.users import Session, User
from devpocket.errors import (
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from devpocket.ids import SessionId, UserId

FRESH_FOR = timedelta(seconds=0.8)
"""How long a cached user or session is believed when no event has said otherwise; an ended one is out within 1 s."""
CHECK_INTERVAL_S = 1.0
"""How often the sessions behind open sockets are looked at, should the event of their end be lost."""
REMOVAL_PATIENCE_S = 5.0
"""How long the answer to a deletion waits for what belongs to the account to go."""
SESSION_ENDED = 1008
"""RFC 6455, 7.4.1: policy violation."""


@dataclass(frozen=True, slots=True)
class UserServices:
    """What all user actors of a process share."""

    ports: Ports
    records: UserRecords
    sessions: Sessions
    password_change: PasswordChange
    codes: Codes
    creation: Creation
    removal: AccountRemoval
    limits: RateLimits
    audit: Audit


@dataclass(frozen=True, slots=True)
class ForgetCached(Message[None]):
    """The account or one of its sessions has changed somewhere."""


@dataclass(frozen=True, slots=True)
class SessionEnded(Message[None]):
    """A session has ended somewhere: close its sockets."""

    session_id: SessionId


@dataclass(frozen=True, slots=True)
class CheckSockets(Message[None]):
    """Look whether the sessions of the open sockets still live."""

    keeps_awake = False


@dataclass(frozen=True, slots=True)
class _Cached:
    session: Session
    user: User
    at: datetime

    def is_fresh(self, now: datetime) -> bool:
        """Tell whether it may be believed; not when the clock was set back, which would make it last."""
        return timedelta(0) <= now - self.at <= FRESH_FOR


class UserActor(LoopActor):
    """The shell around one user."""

    idle_timeout_s = 300.0
    inbox_limit = 2000

    def __init__(self, user_id: UserId, services: UserServices) -> None:
        super().__init__()
        self._id = user_id
        self._services = services
        self._ports = services.ports
        self._queries = UserQueries(services.ports, user_id)
        self._cached: dict[SessionId, _Cached] = {}
        self._sockets: dict[str, OpenSocket] = {}
        self._checking: asyncio.Task[None] | None = None

    # --- who it is ---------------------------------------------------------------------------------------------------

    @handles(AuthenticateSession)
    async def authenticate(self, message: AuthenticateSession) -> Caller:
        """Answer from what was read within the last second, or read it."""
        now = self._ports.clock.now()
        cached = self._cached.get(message.session_id)
        if cached is None or not cached.is_fresh(now):
            cached = _Cached(*await self._read(message.session_id, message.origin), now)
            self._cached = {key: each for key, each in self._cached.items() if each.is_fresh(now)}
            self._cached[message.session_id] = cached
        return Caller(cached.user, message.session_id)

    async def _read(self, session_id: SessionId, origin: Origin) -> tuple[Session, User]:
        session = await self._services.sessions.get(session_id)
        user = await self._services.records.get(self._id)
        if session is None or session.user_id != self._id or user is None or not user.is_active:
            raise UnauthenticatedError("Your sign-in has ended. Please sign in again.")
        return await self._services.sessions.touch(session, origin), user

    async def _user(self) -> User:
        user = await self._services.records.get(self._id)
        if user is None or not user.is_active:
            raise UnauthenticatedError("Your sign-in has ended. Please sign in again.")
        return user

    @handles(ForgetCached)
    def forget_cached(self, _message: ForgetCached) -> None:
        """Read it anew with the next request."""
        self._cached.clear()

    @handles(TakeRequest)
    async def take_request(self, _message: TakeRequest) -> RateLimitVerdict:
        """Take one from the user's budget, which all processes share."""
        return await self._services.limits.take_for_user(self._id)

    # --- environments ------------------------------------------------------------------------------------------------

    @handles(CreateEnvironment)
    async def create_environment(self, message: CreateEnvironment) -> Environment:
        """Make one; several requests of one user are handled one after another."""
        environment = await self._services.creation.create(await self._user(), message.template, message.wish)
        try:
            await self._user()
        except UnauthenticatedError:  # closed by another process meanwhile, which may not have seen the new one
            await self._services.removal.finish(self._id)
            raise
        return environment

    @handles(ListEnvironments)
    async def list_environments(self, message: ListEnvironments) -> Sequence[Environment]:
        """Return those that match."""
        return await self._queries.environments(message)

    @handles(GetUserStats)
    async def stats(self, _message: GetUserStats) -> UserStats:
        """Count."""
        sessions = await self._services.sessions.of_user(self._id)
        return await self._queries.stats(await self._user(), len(sessions))

    # --- the account -------------------------------------------------------------------------------------------------

    @handles(UpdateProfile)
    async def update_profile(self, message: UpdateProfile) -> User:
        """Change the profile; other keys than its own are left alone."""
        changes, now = dict(message.changes), self._ports.clock.now()
        if "username" in changes:
            changes["username"] = rules.clean_username(changes["username"])
            rules.raise_problems(rules.username_problems(changes["username"]))
            changes["username_key"] = rules.username_key(changes["username"])
        self._cached.clear()
        return await self._services.records.change(self._id, lambda user: _changed(user, changes, now))

    @handles(ChangePassword)
    async def change_password(self, message: ChangePassword) -> None:
        """Set another password and end the other sessions."""
        change = self._services.password_change
        await change.change(await self._user(), message.caller, message.current_password, message.new_password)

    @handles(VerifyEmail)
    async def verify_email(self, message: VerifyEmail) -> User:
        """Take the code; a user who is verified already is answered as such, whatever the code."""
        user = await self._user()
        if user.is_verified:
            return user
        await self._services.codes.redeem_verification(user, message.code)
        self._cached.clear()
        verified = await self._services.records.change(self._id, lambda each: replace(each, is_verified=True))
        await self._services.audit.note("email_verified", message.caller.origin, user_id=self._id)
        return verified

    @handles(ResendVerification)
    async def resend_verification(self, _message: ResendVerification) -> None:
        """Mail another code."""
        await self._services.codes.resend_verification(await self._user())

    @handles(DeleteAccount)
    async def delete_account(self, message: DeleteAccount) -> None:
        """Close the account now; what belongs to it goes at once where nothing hinders it, else in the background.

        Usually the name and the address are free again by the time of the answer.
        """
        await self._services.removal.begin(self._id, message.caller.origin)
        self._cached.clear()
        for socket in tuple(self._sockets.values()):
            socket.close(SESSION_ENDED, "Session ended")
        finishing = self.start_child(self._services.removal.finish(self._id), "remove account")
        await asyncio.wait({finishing}, timeout=REMOVAL_PATIENCE_S)

    @handles(ListActivity)
    async def activity(self, message: ListActivity) -> Sequence[Activity]:
        """Return the newest lines of the audit trail."""
        return await self._services.audit.of_user(self._id, message.limit, message.before)

    # --- sessions and sockets ----------------------------------------------------------------------------------------

    @handles(ListSessions)
    async def list_sessions(self, _message: ListSessions) -> Sequence[Session]:
        """Return the live ones."""
        return await self._services.sessions.of_user(self._id)

    @handles(EndSession)
    async def end_session(self, message: EndSession) -> None:
        """End one of this user's."""
        session = await self._services.sessions.get(message.session_id)
        if session is None or session.user_id != self._id:
            raise NotFoundError("There is no such session.")
        await self._services.sessions.end(session)
        self._cached.clear()
        await self._services.audit.note("session_ended", message.caller.origin, user_id=self._id)

    @handles(EndSessions)
    async def end_sessions(self, message: EndSessions) -> int:
        """End all, or all but one."""
        ended = await self._services.sessions.end_all(self._id, keep=message.keep)
        self._cached.clear()
        await self._services.audit.note("sessions_ended", message.caller.origin, user_id=self._id, count=ended)
        return ended

    @handles(OpenSocket)
    async def open_socket(self, message: OpenSocket) -> None:
        """Count it in, over all processes."""
        plan = self._ports.plans.of((await self._user()).subscription_plan)
        limit = min(plan.sockets, self._ports.settings.limits.sockets_per_user)
        if not await self._ports.bus.hold(self._sockets_key, message.socket_id, limit):
            raise PermissionDeniedError("You have too many terminals open.", code="too_many_sockets")
        self._sockets[message.socket_id] = message
        if self._checking is None or self._checking.done():
            self._checking = self.start_child(self._check_sockets(), "check sockets")

    @handles(CloseSocket)
    async def close_socket(self, message: CloseSocket) -> None:
        """Count it out."""
        self._sockets.pop(message.socket_id, None)
        await self._ports.bus.drop(self._sockets_key, message.socket_id)

    @handles(SessionEnded)
    def session_ended(self, message: SessionEnded) -> None:
        """Close its sockets."""
        self._cached.clear()
        for socket in tuple(self._sockets.values()):
            if socket.session_id == message.session_id:
                socket.close(SESSION_ENDED, "Session ended")

    @handles(CheckSockets)
    async def check_sockets(self, _message: CheckSockets) -> None:
        """Close the sockets of sessions that have ended without an event, or by themselves; count out what is gone."""
        for socket in tuple(self._sockets.values()):
            if socket.is_gone():  # this actor was overrun when it was to be told
                await self.close_socket(CloseSocket(socket.socket_id))
        for session_id in {socket.session_id for socket in self._sockets.values()}:
            try:
                gone = await self._services.sessions.get(session_id) is None
            except UnavailableError:
                return  # the store is away; nobody is signed out for that
            if gone:
                self.session_ended(SessionEnded(session_id))

    async def _check_sockets(self) -> None:
        while self._sockets:
            await asyncio.sleep(CHECK_INTERVAL_S)
            if self.actor_inbox.empty():  # or they would pile up while the store is away
                self.tell_self(CheckSockets())

    @property
    def _sockets_key(self) -> str:
        return f"sockets:{self._id}"


def _changed(user: User, changes: Mapping[str, Any], now: datetime) -> User:
    return replace(user, **changes, updated_at=now)
