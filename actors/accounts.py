"""Accounts before anybody is signed in: registering, signing in, refreshing, proving an address, a new password."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from actors.audit import Audit
from actors.background import Background
from actors.codes import Codes
from actors.directory import Directory
from actors.messages import AuthenticateSession, Caller, SignIn
from actors.origin import Origin
from actors.ports import Ports
from actors.sessions import Sessions
from actors.sign_in import PasswordSignIn
from actors.user_records import UserRecords
from devpocket.auth.codes import CodePurpose
from devpocket.auth.google import Google, GoogleIdentity
from devpocket.auth.passwords import Passwords, check_new_password, is_common_password
from devpocket.auth.permissions import Permission, check_allowed
from devpocket.auth.tokens import Tokens, TokenType
from devpocket.domain import users as rules
from devpocket.domain.users import User
from devpocket.errors import ConflictError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from devpocket.ids import UserId, new_id

RESET_SPREAD_S = 0.5
"""Within this time a reset mail is begun, at a moment that nobody foresees."""
_CHANCE = random.SystemRandom()
Proof: TypeAlias = Callable[[User], Awaitable[bool]]
"""Tells whether what somebody has shown still opens the account as it is now."""


class Accounts:
    """The service behind the calls under ``/auth`` that need no session."""

    def __init__(
        self,
        ports: Ports,
        *,
        users: Directory[UserId],
        records: UserRecords,
        sessions: Sessions,
        tokens: Tokens,
        passwords: Passwords,
        sign_in: PasswordSignIn,
        google: Google,
        codes: Codes,
        audit: Audit,
        background: Background,
    ) -> None:
        self._ports = ports
        self._users = users
        self._records = records
        self._sessions = sessions
        self._tokens = tokens
        self._passwords = passwords
        self._sign_in = sign_in
        self._google = google
        self._codes = codes
        self._audit = audit
        self._background = background

    async def register(
        self, *, username: str, email: str, password: str, full_name: str | None, origin: Origin
    ) -> SignIn:
        """Make an account, mail it a code and sign it in; ConflictError for taken names, ValidationError for rules."""
        user = self._new_user(username, email, full_name)
        rules.raise_problems(
            rules.username_problems(user.username)
            + rules.email_problems(user.email)
            + (rules.full_name_problems(user.full_name) if user.full_name else [])
            + rules.password_problems(password, is_common=is_common_password)
        )
        user = await self._records.insert(replace(user, password_hash=await self._passwords.hash(password)))
        await self._audit.note("registered", origin, user_id=user.id)
        self._background.start(self._codes.send_first_verification(user), "verification mail")
        return await self._open(user, origin, partial(self._sign_in.still_opens, user, password))

    async def login(self, *, identifier: str, password: str, origin: Origin) -> SignIn:
        """Sign in with name or address and password; see :class:`~actors.sign_in.PasswordSignIn` for the refusals."""
        user = await self._sign_in.verify(identifier, password, origin)
        opens = partial(self._sign_in.still_opens, user, password)
        return await self._signed_in(user, origin, "signed_in", opens)

    async def google(self, *, id_token: str, origin: Origin) -> SignIn:
        """Sign in whom Google vouches for, with the account of that address or a new one."""
        identity = await self._google.verify(id_token)
        user = await self._records.by_google_id(identity.google_id)
        user = user or await self._records.by_email(rules.email_key(identity.email))
        if user is None:
            user = await self._first_google_user(identity, origin)
        elif not user.is_active:
            raise PermissionDeniedError("This account has been closed.", code="account_inactive")
        elif user.google_id is None:
            user = await self._link(user, identity, origin)
        elif user.google_id != identity.google_id:
            # A mailbox that was given to somebody else, as firms do, must not bring the former owner's account along.
            raise ConflictError("This address belongs to another Google account here.", code="google_id_taken")

        async def is_linked(latest: User) -> bool:
            return latest.google_id == identity.google_id

        return await self._signed_in(user, origin, "signed_in_with_google", is_linked)

    async def refresh(self, *, refresh_token: str, origin: Origin) -> SignIn:
        """Return the next pair of tokens; UnauthenticatedError for anything but the family's newest."""
        return await self._sessions.refresh(refresh_token, origin)

    async def authenticate(self, *, access_token: str | None, origin: Origin) -> Caller:
        """Return who sends this token; UnauthenticatedError for none, a broken one, or that of an ended session."""
        if not access_token:
            raise UnauthenticatedError("Please sign in.")
        claims = self._tokens.verify(access_token, TokenType.ACCESS)
        caller = await self._users.ask(claims.user_id, AuthenticateSession(claims.session_id, origin))
        return replace(caller, address=origin.address, device=origin.device)

    async def authorise(self, caller: Caller, right: Permission) -> None:
        """Raise PermissionDeniedError, and write it down, unless the caller's role has the permission."""
        try:
            check_allowed(caller.user.role, right)
        except PermissionDeniedError:
            await self._audit.note("refused", caller.origin, user_id=caller.user.id, permission=right.value)
            raise

    async def forgot_password(self, *, email: str, origin: Origin) -> None:
        """Mail a reset token if there is such an account; the answer, and its time, is the same if there is none."""
        self._background.start(self._mail_reset(email, origin), "reset mail")

    async def reset_password(self, *, token: str, new_password: str, origin: Origin) -> None:
        """Set the password that a mailed token allows to set, once; all sessions end."""
        check_new_password(new_password, field="new_password")
        await self._codes.check_token(token, CodePurpose.RESET_PASSWORD)
        password_hash = await self._passwords.hash(new_password)
        user_id = await self._codes.redeem_token(token, CodePurpose.RESET_PASSWORD)
        # Before, so that a store that goes away now leaves nobody in; after the change again, for who came meanwhile.
        await self._sessions.end_all(user_id)
        await self._records.change(user_id, lambda user: replace(user, password_hash=password_hash, is_verified=True))
        await self._codes.forget(user_id, CodePurpose.RESET_PASSWORD)
        await self._sessions.end_all(user_id)
        await self._sign_in.forgive(user_id, origin)
        await self._audit.note("password_reset", origin, user_id=user_id)

    async def verify_email_link(self, *, token: str, origin: Origin) -> None:
        """Take the token of a mailed link as proof of its user's address."""
        user_id = await self._codes.redeem_token(token, CodePurpose.VERIFY_EMAIL)
        await self._records.change(user_id, lambda user: replace(user, is_verified=True))
        await self._audit.note("email_verified", origin, user_id=user_id)

    async def _signed_in(self, user: User, origin: Origin, action: str, proves: Proof) -> SignIn:
        now = self._ports.clock.now()
        try:
            user = await self._records.change(user.id, lambda each: replace(each, last_login_at=now))
        except NotFoundError as error:  # deleted since its password was looked at
            raise UnauthenticatedError("This account is gone.") from error
        await self._audit.note(action, origin, user_id=user.id)
        return await self._open(user, origin, proves)

    async def _open(self, user: User, origin: Origin, proves: Proof) -> SignIn:
        """Begin a session unless, by the time it can be seen, ``proves`` denies the account as it is then."""

        async def is_still_proved() -> bool:
            latest = await self._records.get(user.id)
            if latest is None or not latest.is_active:
                await self._audit.forget(user.id)
                return False
            return await proves(latest)

        opened = await self._sessions.open(user, origin, is_still_proved)
        await self._sign_in.feel_at_home(user.id, origin)
        return opened

    async def _mail_reset(self, email: str, origin: Origin) -> None:
        # Sooner or later by chance: what comes right after the answer would be slowed by the mail of a known address.
        await asyncio.sleep(_CHANCE.random() * RESET_SPREAD_S)
        user = await self._records.by_email(rules.email_key(email))
        if user is None or not user.is_active:
            await self._audit.note("password_reset_requested", origin)
            return
        await self._audit.note("password_reset_requested", origin, user_id=user.id)
        await self._codes.send_reset(user)
        latest = await self._records.get(user.id)
        if latest is None or not latest.is_active:
            await self._audit.forget(user.id)

    async def _link(self, user: User, identity: GoogleIdentity, origin: Origin) -> User:
        """Return the account of the identity's address, now linked to it."""
        if not user.is_verified:
            # Nobody has proved to read this mailbox until now: whoever registered it loses password and sessions.
            await self._sessions.end_all(user.id)
        linked = await self._records.change(user.id, _linking(identity))
        if not user.is_verified:
            await self._sessions.end_all(user.id)
        await self._audit.note("google_linked", origin, user_id=user.id)
        return linked

    async def _first_google_user(self, identity: GoogleIdentity, origin: Origin) -> User:
        """Return a new account, or the one that the same person has just been given: phones ask twice."""
        try:
            return await self._new_google_user(identity, origin)
        except ConflictError:
            user = await self._records.by_google_id(identity.google_id)
            if user is None:
                raise
            return user

    async def _new_google_user(self, identity: GoogleIdentity, origin: Origin) -> User:
        blank = self._new_user("", identity.email, identity.full_name)
        for username in rules.username_candidates(identity.email, blank.id):
            user = replace(
                blank,
                username=username,
                username_key=rules.username_key(username),
                google_id=identity.google_id,
                avatar_url=identity.picture_url,
                is_verified=True,
            )
            try:
                user = await self._records.insert(user)
            except ConflictError as error:
                if error.code == "username_key_taken":
                    continue
                raise
            await self._audit.note("registered_with_google", origin, user_id=user.id)
            return user
        raise ConflictError("No free username was found for this address.")

    def _new_user(self, username: str, email: str, full_name: str | None) -> User:
        plan, now = self._ports.plans.default.name, self._ports.clock.now()
        return rules.new_user(UserId(new_id()), username, email, plan=plan, now=now, full_name=full_name)


def _linking(identity: GoogleIdentity) -> Callable[[User], User]:
    def link(user: User) -> User:
        return replace(
            user,
            google_id=identity.google_id,
            avatar_url=user.avatar_url or identity.picture_url,
            password_hash=user.password_hash if user.is_verified else None,
            is_verified=True,
        )

    return link
