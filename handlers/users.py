"""The own account: profile, sessions, audit trail, deletion."""

from actors.messages import (
    DeleteAccount,
    EndSession,
    EndSessions,
    GetUserStats,
    ListActivity,
    ListSessions,
    UpdateProfile,
)
from devpocket.ids import SessionId
from devpocket.schemas.accounts import (
    ActivityAnswer,
    ActivityQuery,
    EndedAnswer,
    EndSessionsQuery,
    SessionAnswer,
    StatsAnswer,
    UpdateUserRequest,
    UserAnswer,
)
from devpocket.schemas.service import MessageAnswer
from handlers.base import BaseHandler
from handlers.operations import operation
from handlers.paths import Route


class ProfileHandler(BaseHandler):
    """The account of the signed-in user."""

    @operation("Show the account", allow="account:read", answer=UserAnswer)
    async def get(self) -> None:
        """Answer with the account."""
        self.answer(self.caller.user)

    @operation("Change the account", allow="account:write", body=UpdateUserRequest, answer=UserAnswer, refuses=(409,))
    async def put(self) -> None:
        """Change what the body names and answer with the account as it is then."""
        self.answer(await self.ask_user(UpdateProfile(self.body())))

    @operation("Delete the account and all that belongs to it", allow="account:write", answer=MessageAnswer)
    async def delete(self) -> None:
        """Remove everything; environments go in the background."""
        await self.ask_user(DeleteAccount(self.caller))
        self.answer({"message": "Your account is deleted."})


class StatsHandler(BaseHandler):
    """Figures of the account."""

    @operation("Count environments and sessions", allow="account:read", answer=StatsAnswer)
    async def get(self) -> None:
        """Answer with counts."""
        self.answer(await self.ask_user(GetUserStats()))


class ActivityHandler(BaseHandler):
    """The audit trail of the account."""

    @operation(
        "Show what happened to the account", allow="account:read", query=ActivityQuery, answer=ActivityAnswer, many=True
    )
    async def get(self) -> None:
        """Answer with the newest lines first."""
        self.answer(await self.ask_user(ListActivity(**self.query())))


class SessionsHandler(BaseHandler):
    """All signed-in devices."""

    @operation("List signed-in devices", allow="account:read", answer=SessionAnswer, many=True)
    async def get(self) -> None:
        """Answer with live sessions, last used first."""
        sessions = await self.ask_user(ListSessions())
        fields = ("id", "device", "address", "created_at", "last_used_at", "expires_at")
        self.answer(
            [
                {name: getattr(session, name) for name in fields} | {"is_current": session.id == self.caller.session_id}
                for session in sessions
            ]
        )

    @operation("Sign out all other devices", allow="account:write", query=EndSessionsQuery, answer=EndedAnswer)
    async def delete(self) -> None:
        """End all sessions but this one, or this one, too."""
        everything = self.query()["include_current"]
        ended = await self.ask_user(EndSessions(self.caller, keep=None if everything else self.caller.session_id))
        who = "All" if everything else "Other"
        self.answer({"message": f"{who} devices have been signed out.", "ended": ended})


class SessionHandler(BaseHandler):
    """One signed-in device."""

    @operation("Sign out one device", allow="account:write", answer=MessageAnswer, refuses=(404,))
    async def delete(self, session_id: str) -> None:
        """End the session: its tokens stop working, its sockets close."""
        await self.ask_user(EndSession(SessionId(session_id), self.caller))
        self.answer({"message": "The device has been signed out."})


ROUTES = (
    Route("/api/v1/users/me", ProfileHandler),
    Route("/api/v1/users/me/stats", StatsHandler),
    Route("/api/v1/users/me/activity", ActivityHandler),
    Route("/api/v1/users/me/sessions", SessionsHandler),
    Route("/api/v1/users/me/sessions/{session_id}", SessionHandler),
)
