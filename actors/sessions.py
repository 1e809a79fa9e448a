"""Sessions: one signed-in device each, a family of refresh tokens of which only the newest is good."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from actors.audit import Audit
from actors.messages import SignIn
from actors.origin import Origin
from actors.ports import Ports
from devpocket.auth.rotation import RefreshDecision, decide_refresh
from devpocket.auth.tokens import TokenPair, Tokens, TokenType
from devpocket.bus.port import Topic
from devpocket.domain.users import Session, User
from devpocket.errors import UnauthenticatedError, UnavailableError
from devpocket.ids import SessionId, UserId, new_id
from devpocket.store.errors import MissingDocumentError, VersionConflictError
from devpocket.store.port import MAX_LIMIT
from devpocket.store.records import from_document, session_from_document, to_document, user_from_document

MAXIMUM_SESSIONS = 50
"""Live sessions of one user; the oldest ends when another begins."""
_TRIES = 10
_REFUSAL = "Your sign-in is not valid or has ended. Please sign in again."
_TOUCH_EVERY = timedelta(minutes=1)


class Sessions:
    """Opens, continues and ends sessions; announces each end to all processes."""

    def __init__(self, ports: Ports, tokens: Tokens, audit: Audit) -> None:
        self._ports = ports
        self._tokens = tokens
        self._audit = audit

    async def open(self, user: User, origin: Origin, is_still_proved: Callable[[], Awaitable[bool]]) -> SignIn:
        """Begin a session and return its first tokens.

        ``is_still_proved`` is asked once the session can be seen by whoever ends all sessions: a password that was
        changed, or an account that was closed, while its sign-in was under way ends this session, too, with
        UnauthenticatedError.
        """
        await self._make_room(user.id)
        session_id, now = SessionId(new_id()), self._ports.clock.now()
        pair = self._tokens.issue(user, session_id)
        session = Session(
            id=session_id,
            user_id=user.id,
            token_hash=pair.refresh_hash,
            created_at=now,
            last_used_at=now,
            expires_at=pair.refresh_expires_at,
            device=origin.device,
            address=origin.address,
        )
        await self._ports.store.sessions.insert({**to_document(session), "version": 1})
        is_proved = False
        try:
            is_proved = await is_still_proved()
        finally:
            if not is_proved:
                await self.end(session)
        if not is_proved:
            raise UnauthenticatedError(_REFUSAL, detail="the proof was taken back during the sign-in")
        return sign_in(user, pair)

    async def refresh(self, refresh_token: str, origin: Origin) -> SignIn:
        """Return the next pair of the family; UnauthenticatedError for a token that is not its newest."""
        presented = self._tokens.verify(refresh_token, TokenType.REFRESH)
        for _ in range(_TRIES):
            session = await self.get(presented.session_id)
            document = await self._ports.store.users.get(presented.user_id)
            user = user_from_document(document) if document else None
            if user is None or not user.is_active:
                raise UnauthenticatedError(_REFUSAL)
            now = self._ports.clock.now()
            match decide_refresh(session, presented, self._tokens.successor_hashes(presented), now), session:
                case RefreshDecision.REPEAT, Session():
                    return sign_in(user, self._tokens.repeat(user, presented, session))
                case RefreshDecision.ROTATE, Session():
                    pair = self._tokens.rotate(user, presented)
                    rotated = session.rotated(pair.refresh_hash, now, pair.refresh_expires_at)
                    if await self._replaced(replace(rotated, address=origin.address, device=origin.device)):
                        return sign_in(user, pair)
                case RefreshDecision.END, Session():
                    await self.end(session)
                    await self._audit.note("refresh_reuse", origin, user_id=user.id, session_id=session.id)
                    raise UnauthenticatedError(_REFUSAL, detail="a used refresh token came again")
                case _:
                    raise UnauthenticatedError(_REFUSAL)
        raise UnavailableError("The server is busy; try again.", retry_after_s=1)

    async def get(self, session_id: SessionId) -> Session | None:
        """Return a live session, or None."""
        document = await self._ports.store.sessions.get(session_id)
        return session_from_document(document) if document else None

    async def touch(self, session: Session, origin: Origin) -> Session:
        """Write down, at most once a minute, that the session is in use and from where."""
        now = self._ports.clock.now()
        if now - session.last_used_at < _TOUCH_EVERY:
            return session
        document = to_document(session) | {"last_used_at": now, "address": origin.address, "device": origin.device}
        try:
            return from_document(Session, await self._ports.store.sessions.replace(document))
        except (VersionConflictError, MissingDocumentError):
            return session  # somebody else has just written or ended it

    async def of_user(self, user_id: UserId) -> Sequence[Session]:
        """Return a user's live sessions, last used first."""
        documents = await self._ports.store.sessions.query("user", user_id, limit=MAX_LIMIT)
        sessions = [session_from_document(document) for document in documents]
        return sorted(sessions, key=lambda session: session.last_used_at, reverse=True)

    async def end(self, session: Session) -> None:
        """End it: its tokens stop working and its sockets close, in every process."""
        await self._ports.store.sessions.delete(session.id)
        event = {"session_id": session.id, "user_id": session.user_id}
        await self._ports.bus.publish(Topic.SESSION_ENDED, event)

    async def end_all(self, user_id: UserId, keep: SessionId | None = None) -> int:
        """End all of a user's sessions but ``keep``; return how many."""
        ended = [session for session in await self.of_user(user_id) if session.id != keep]
        for session in ended:
            await self.end(session)
        return len(ended)

    async def _make_room(self, user_id: UserId) -> None:
        sessions = await self.of_user(user_id)
        for session in sessions[MAXIMUM_SESSIONS - 1 :]:
            await self.end(session)

    async def _replaced(self, session: Session) -> bool:
        try:
            await self._ports.store.sessions.replace(to_document(session))
        except (VersionConflictError, MissingDocumentError):
            return False
        return True


def sign_in(user: User, pair: TokenPair) -> SignIn:
    """Return what a sign-in answers."""
    return SignIn(user, pair.access_token, pair.refresh_token, pair.expires_in_s)
