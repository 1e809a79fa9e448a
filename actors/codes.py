"""Codes and tokens by mail: proving an address, setting a new password."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from actors.ports import Ports
from devpocket.auth.codes import (
    RESEND_AFTER,
    CodePurpose,
    CodeVerdict,
    OneTimeCode,
    hash_mailbox,
    is_code,
    new_reset,
    new_verification,
    try_code,
    use_token,
)
from devpocket.auth.tokens import hash_token
from devpocket.domain.users import User
from devpocket.errors import FieldProblem, InvalidStateError, RateLimitedError, UnavailableError, ValidationError
from devpocket.ids import UserId
from devpocket.mail.messages import Messages
from devpocket.mail.outbox import Outbox
from devpocket.metrics import LimitKind
from devpocket.store.errors import MissingDocumentError, VersionConflictError
from devpocket.store.records import from_document, to_document

MAILS_A_DAY = 10
"""Of each kind to one user: each verification mail allows five more guesses, and nobody's mailbox is to be flooded."""
_TRIES = 20
_DAY_S = 86400
_SENTENCES = {
    CodeVerdict.WRONG: "This code is not right. Please look at the newest mail.",
    CodeVerdict.EXPIRED: "This code has expired. Please ask for another one.",
    CodeVerdict.USED: "This code has been used already. Please ask for another one.",
    CodeVerdict.EXHAUSTED: "There were too many wrong codes. Please ask for another one.",
}


@dataclass(frozen=True, slots=True)
class Codes:
    """Issues codes with their mails, and redeems them: each once, each with few tries."""

    ports: Ports
    keys: Sequence[bytes]
    messages: Messages
    outbox: Outbox

    async def send_first_verification(self, user: User) -> None:
        """Mail six digits and a link to the address of a new account, unless it was sent many mails today."""
        if await self._may_follow(user, CodePurpose.VERIFY_EMAIL, None) and await self._may_mail(
            user, CodePurpose.VERIFY_EMAIL
        ):
            await self._send_verification(user)

    async def resend_verification(self, user: User) -> None:
        """Mail another code; InvalidStateError for a verified user, RateLimitedError within 60 s of the last."""
        if user.is_verified:
            raise InvalidStateError("Your e-mail address is verified already.", code="already_verified")
        newest, now = await self._newest(user.id, CodePurpose.VERIFY_EMAIL), self.ports.clock.now()
        if not await self._may_follow(user, CodePurpose.VERIFY_EMAIL, newest):
            wait_s = ((newest.created_at if newest else now) + RESEND_AFTER - now).total_seconds()
            raise RateLimitedError("A code was sent just now. Please wait a minute.", retry_after_s=wait_s)
        if not await self._may_mail(user, CodePurpose.VERIFY_EMAIL):
            raise RateLimitedError("Many codes were sent today. Please try again tomorrow.", retry_after_s=_DAY_S)
        await self._send_verification(user)

    async def send_reset(self, user: User) -> None:
        """Mail a token that sets a new password, unless one was mailed within the last 60 s, or many today."""
        newest = await self._newest(user.id, CodePurpose.RESET_PASSWORD)
        if not await self._may_follow(user, CodePurpose.RESET_PASSWORD, newest):
            return
        if not await self._may_mail(user, CodePurpose.RESET_PASSWORD):
            return
        issued = new_reset(user.id, self.ports.clock.now())
        if await self._stored(issued.record):
            self.outbox.post(self.messages.password_reset(user.email, _greeted(user), issued.token), user.id)

    async def redeem_verification(self, user: User, presented: str) -> None:
        """Take six digits, or a link's token, of this user; InvalidStateError says what is wrong with it."""
        if not is_code(presented):
            await self.redeem_token(presented, CodePurpose.VERIFY_EMAIL, of=user.id)
            return
        newest = await self._newest(user.id, CodePurpose.VERIFY_EMAIL)
        if newest is None:
            raise _refusal(CodeVerdict.EXPIRED)
        now = self.ports.clock.now()
        await self._redeem(newest.id, lambda record: try_code(record, presented, now, self.keys))

    async def redeem_token(self, token: str, purpose: CodePurpose, *, of: UserId | None = None) -> UserId:
        """Use a link's token up and return whose it was; InvalidStateError says what is wrong with it.

        With ``of`` the token of anybody else is wrong, and stays good for its owner.
        """
        document = await self.ports.store.codes.get_by("token_hash", hash_token(token))
        if document is None or of not in (None, document["user_id"]):
            raise _refusal(CodeVerdict.WRONG)
        now = self.ports.clock.now()
        record = await self._redeem(document["_id"], lambda record: use_token(record, token, purpose, now))
        return record.user_id

    async def check_token(self, token: str, purpose: CodePurpose) -> None:
        """Raise InvalidStateError for a token that could not be redeemed; one that could stays unused."""
        document = await self.ports.store.codes.get_by("token_hash", hash_token(token))
        if document is None:
            raise _refusal(CodeVerdict.WRONG)
        _, verdict = use_token(from_document(OneTimeCode, document), token, purpose, self.ports.clock.now())
        if verdict is not CodeVerdict.MATCH:
            raise _refusal(verdict)

    async def forget(self, user_id: UserId, *purposes: CodePurpose) -> None:
        """Remove a user's codes for these purposes."""
        for purpose in purposes:
            await self.ports.store.codes.delete_by("user_purpose", user_id, purpose.value)

    async def forget_user(self, user_id: UserId) -> None:
        """Remove all codes of a user who goes."""
        await self.forget(user_id, *CodePurpose)

    async def _may_follow(self, user: User, purpose: CodePurpose, newest: OneTimeCode | None) -> bool:
        """Tell whether another mail may be sent: ``newest`` is old enough, and nobody else is about to follow it.

        Of those who ask at once, in whatever process, all find the same newest code, and the first follows it.
        """
        if newest is None or newest.may_be_followed(self.ports.clock.now()):
            place = hash_token(f"{purpose}:{user.id}:{newest.id if newest else 'none'}")  # names nobody who goes
            if await self.ports.store.increment(f"mail-after:{place}", ttl_s=RESEND_AFTER.total_seconds()) == 1:
                return True
        self.ports.metrics.limit_refused(LimitKind.MAIL)
        return False

    async def _may_mail(self, user: User, purpose: CodePurpose) -> bool:
        """Count one more mail of today; tell whether it is within the limit.

        Counted by address, in a form that only the server's key leads to: an account that is made and deleted over
        and over floods no mailbox, and gets no more guesses.
        """
        key = hash_mailbox(user.email_key, purpose, self.keys[0])
        if await self.ports.store.increment(f"mails:{key}", ttl_s=_DAY_S) <= MAILS_A_DAY:
            return True
        self.ports.metrics.limit_refused(LimitKind.MAIL)
        return False

    async def _send_verification(self, user: User) -> None:
        issued = new_verification(user.id, self.ports.clock.now(), self.keys)
        if await self._stored(issued.record):
            mail = self.messages.verification(user.email, _greeted(user), issued.code, issued.token)
            self.outbox.post(mail, user.id)

    async def _stored(self, record: OneTimeCode) -> bool:
        """Store a new code, unless its user is going; tell whether it is there."""
        await self.ports.store.codes.insert(to_document(replace(record, version=1)))
        user = await self.ports.store.users.get(record.user_id)
        if user is None or not user["is_active"]:
            await self.forget_user(record.user_id)
            return False
        return True

    async def _redeem(
        self, code_id: str, attempt: Callable[[OneTimeCode], tuple[OneTimeCode, CodeVerdict]]
    ) -> OneTimeCode:
        """Store the try before its verdict counts: guesses side by side get no more than the tries there are."""
        for _ in range(_TRIES):
            document = await self.ports.store.codes.get(code_id)
            if document is None:
                raise _refusal(CodeVerdict.EXPIRED)
            record = from_document(OneTimeCode, document)
            tried, verdict = attempt(record)
            if tried != record:
                try:
                    await self.ports.store.codes.replace(to_document(tried))
                except (VersionConflictError, MissingDocumentError):
                    continue
            if verdict is not CodeVerdict.MATCH:
                raise _refusal(verdict)
            return tried
        raise UnavailableError("The server is busy; try again.", retry_after_s=1)

    async def _newest(self, user_id: UserId, purpose: CodePurpose) -> OneTimeCode | None:
        found = await self.ports.store.codes.query("user_purpose", user_id, purpose.value, descending=True, limit=1)
        return from_document(OneTimeCode, found[0]) if found else None


def _greeted(user: User) -> str:
    """Return how a mail addresses the user: a name of any words only at an address that is known to be theirs.

    Else anybody could have this server write to anybody, with a message for a name.
    """
    return user.display_name if user.is_verified else user.username


def _refusal(verdict: CodeVerdict) -> ValidationError:
    sentence = _SENTENCES[verdict]
    return ValidationError(sentence, [FieldProblem("token", sentence, f"code_{verdict.value}")], code="wrong_code")
