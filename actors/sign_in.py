"""Signing in with a password: counted before it is looked at, locked after too many wrong ones."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from actors.audit import Audit
from actors.origin import Origin
from actors.ports import Ports
from actors.sessions import Sessions
from actors.user_records import UserRecords, with_hash
from devpocket.auth.lockout import (
    HOME_TTL_S,
    Counter,
    LockoutSettings,
    attempt_counters,
    home_key,
    locked_error,
    network_of,
)
from devpocket.auth.passwords import Passwords
from devpocket.auth.turns import Turns
from devpocket.domain.users import User, login_key
from devpocket.errors import PermissionDeniedError, UnauthenticatedError, UnavailableError
from devpocket.ids import UserId
from devpocket.metrics import LimitKind

_NOBODY = UserId("nobody")


@dataclass(frozen=True, slots=True)
class PasswordSignIn:
    """Checks names and passwords; the rules are :mod:`devpocket.auth.lockout`'s."""

    ports: Ports
    users: UserRecords
    sessions: Sessions
    passwords: Passwords
    turns: Turns
    audit: Audit
    lockout: LockoutSettings

    async def verify(self, login: str, password: str, origin: Origin) -> User:
        """Return whose name and password these are.

        UnauthenticatedError for a wrong pair, after the same work whether the name exists or not;
        PermissionDeniedError while sign-in is locked, whatever the password is.
        """
        user = await self.users.by_login(login)
        account = user.id if user else f"nobody:{login_key(login)}"
        counters = attempt_counters(
            account, origin.address, self.lockout, is_known_address=await self._is_at_home(user, origin)
        )
        async with self.turns.turn(counters[0].key):
            await self._refuse_locked(counters, user, origin)
            counts = [await self.ports.store.increment(counter.key, ttl_s=counter.window_s) for counter in counters]
            await self._refuse_overrun(counters, counts)
            if await self._looked_at(password, user, counters) and user is not None:
                return await self._welcome(user, password, counters)
            await self._wrong(counters, counts, user, origin)
        raise UnauthenticatedError("The username or password is incorrect.", code="incorrect_credentials")

    async def still_opens(self, user: User, password: str, latest: User) -> bool:
        """Tell whether the password that has just opened ``user`` opens the account as it is now, too."""
        return latest.password_hash == user.password_hash or await self.passwords.verify(password, latest.password_hash)

    async def feel_at_home(self, user_id: UserId, origin: Origin) -> None:
        """Remember the address as one of the account's own, which no lock of the whole account concerns."""
        await self.ports.store.increment(home_key(user_id, origin.address), ttl_s=HOME_TTL_S)

    async def forgive(self, user_id: UserId, origin: Origin) -> None:
        """Forget the wrong passwords for this account from this address, which is its owner's: there was a mail."""
        await self.feel_at_home(user_id, origin)
        for counter in attempt_counters(user_id, origin.address, self.lockout):
            if counter.is_pair:
                await self.ports.store.reset(counter.key)
                await self.ports.store.reset(counter.lock_key)

    async def _looked_at(self, password: str, user: User | None, counters: tuple[Counter, ...]) -> bool:
        """Tell whether the password is right; what could not be looked at, for too many wait, was no wrong one."""
        try:
            return await self.passwords.verify(password, user.password_hash if user else None)
        except UnavailableError:
            for counter in counters:
                await self.ports.store.increment(counter.key, ttl_s=counter.window_s, amount=-1)
            raise

    async def _welcome(self, user: User, password: str, counters: tuple[Counter, ...]) -> User:
        for counter in counters:
            if counter.is_pair:
                await self.ports.store.reset(counter.key)
            else:
                await self.ports.store.increment(counter.key, ttl_s=counter.window_s, amount=-1)
        if not user.is_active:
            raise PermissionDeniedError("This account has been closed.", code="account_inactive")
        if user.password_hash and self.passwords.needs_rehash(user.password_hash):
            await self._rehash(user, password)
        return user

    async def _rehash(self, user: User, password: str) -> None:
        """Store the hash at today's cost, unless the password has been changed meanwhile."""
        stale, fresh = user.password_hash, await self.passwords.hash(password)
        await self.users.change(user.id, lambda each: with_hash(each, stale, fresh))

    async def _wrong(self, counters: tuple[Counter, ...], counts: list[int], user: User | None, origin: Origin) -> None:
        user_id = user.id if user else None
        await self.audit.note("sign_in_failed", origin, user_id=user_id)
        for counter, count in zip(counters, counts, strict=True):
            if counter.is_full(count):
                await self.ports.store.increment(counter.lock_key, ttl_s=counter.lock_s)
                await self.audit.note("account_locked", origin, user_id=user_id, is_pair=counter.is_pair)

    async def _refuse_locked(self, counters: tuple[Counter, ...], user: User | None, origin: Origin) -> None:
        now = self.ports.clock.now()
        for counter in counters:
            lock = await self.ports.store.window(counter.lock_key)
            if lock is not None:
                await self.audit.note("sign_in_refused", origin, user_id=user.id if user else None, reason="locked")
                raise self._locked(lock.ends_at, now)

    async def _refuse_overrun(self, counters: tuple[Counter, ...], counts: list[int]) -> None:
        now = self.ports.clock.now()
        for counter, count in zip(counters, counts, strict=True):
            if counter.is_over(count):
                window = await self.ports.store.window(counter.key)
                raise self._locked(window.ends_at if window else now + timedelta(seconds=counter.lock_s), now)

    def _locked(self, until: datetime, now: datetime) -> PermissionDeniedError:
        self.ports.metrics.limit_refused(LimitKind.LOCKOUT)
        return locked_error(until, now)

    async def _is_at_home(self, user: User | None, origin: Origin) -> bool:
        """Tell whether the address is known to be the account's own; looks also for a name that nobody has."""
        here, user_id = network_of(origin.address), user.id if user else _NOBODY
        has_signed_in = await self.ports.store.window(home_key(user_id, origin.address)) is not None
        sessions = await self.sessions.of_user(user_id)
        return has_signed_in or any(network_of(session.address) == here for session in sessions)
