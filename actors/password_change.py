"""Another password by somebody who is signed in and knows the present one."""

from dataclasses import dataclass

from actors.audit import Audit
from actors.codes import Codes
from actors.messages import Caller
from actors.ports import Ports
from actors.sessions import Sessions
from actors.user_records import UserRecords, with_hash
from devpocket.auth.codes import CodePurpose
from devpocket.auth.passwords import Passwords, check_new_password
from devpocket.domain.users import User
from devpocket.errors import FieldProblem, RateLimitedError, ValidationError
from devpocket.ids import UserId
from devpocket.metrics import LimitKind


@dataclass(frozen=True, slots=True)
class PasswordChange:
    """Checks the present password, with few tries, and sets the next."""

    ports: Ports
    records: UserRecords
    sessions: Sessions
    passwords: Passwords
    codes: Codes
    audit: Audit

    async def change(self, user: User, caller: Caller, current_password: str, new_password: str) -> None:
        """Set the password, end the other sessions and void mailed reset tokens.

        ValidationError for a new password that breaks a rule and for a wrong current one; RateLimitedError after as
        many wrong ones as lock a sign-in, so that a session left open is no way to the password.
        """
        check_new_password(new_password, field="new_password")
        await self._count_try(user, caller)
        if not await self.passwords.verify(current_password, user.password_hash):
            await self.audit.note("password_change_refused", caller.origin, user_id=user.id)
            sentence = "The current password is not right."
            problem = FieldProblem("current_password", sentence, "wrong_password")
            raise ValidationError(sentence, [problem], code="wrong_password")
        password_hash = await self.passwords.hash(new_password)
        await self._replace(user, password_hash)
        await self.ports.store.reset(password_tries(user.id))
        await self.codes.forget(user.id, CodePurpose.RESET_PASSWORD)
        await self.sessions.end_all(user.id, keep=caller.session_id)
        await self.audit.note("password_changed", caller.origin, user_id=user.id)

    async def _replace(self, user: User, password_hash: str) -> None:
        """Store the new hash in place of the one that was proved; of two changes at once the second is refused."""
        changed = await self.records.change(user.id, lambda each: with_hash(each, user.password_hash, password_hash))
        if changed.password_hash != password_hash:
            raise ValidationError("The password has been changed on another device just now.", code="wrong_password")

    async def _count_try(self, user: User, caller: Caller) -> None:
        """Count before looking, so that tries side by side get no more looks than these."""
        auth = self.ports.settings.auth
        if (
            await self.ports.store.increment(password_tries(user.id), ttl_s=auth.lockout_duration_s)
            <= auth.lockout_attempts
        ):
            return
        self.ports.metrics.limit_refused(LimitKind.LOCKOUT)
        await self.audit.note("password_change_refused", caller.origin, user_id=user.id, reason="locked")
        window = await self.ports.store.window(password_tries(user.id))
        left_s = (window.ends_at - self.ports.clock.now()).total_seconds() if window else 1.0
        sentence = "Too many wrong passwords. Please wait a while, or ask for a new password by mail."
        raise RateLimitedError(sentence, retry_after_s=left_s)


def password_tries(user_id: UserId) -> str:
    """Return the key under which wrong current passwords of a user are counted."""
    return f"password-change:{user_id}"
