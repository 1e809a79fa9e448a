"""Codes and tokens by mail: proving an address, setting a new password."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from actors.ports import Ports
from devpocket.auth.codes import (
    RESEND_AFTER,
    CodePurpose,
    CodeVerdict,
    OneTimeCode,
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

    async def send_verification(self, user: User) -> None:
        """Mail six digits and a link to the user's address."""
        issued = new_verification(user.id, self.ports.clock.now(), self.keys)
        await self._insert(issued.record)
        self.outbox.post(self.messages.verification(user.email, user.display_name, issued.code, issued.token), user.id)

    async def resend_verification(self, user: User) -> None:
        """Mail another code; InvalidStateError for a verified user, RateLimitedError within 60 s of the last."""
        if user.is_verified:
            raise InvalidStateError("Your e-mail address is verified already.", code="already_verified")
        newest, now = await self._newest(user.id, CodePurpose.VERIFY_EMAIL), self.ports.clock.now()
        if newest is not None and not newest.may_be_followed(now):
            self.ports.metrics.limit_refused(LimitKind.MAIL)
            wait_s = (newest.created_at + RESEND_AFTER - now).total_seconds()
            raise RateLimitedError("A code was sent just now. Please wait a minute.", retry_after_s=wait_s)
        if not await self._may_mail(user.id, CodePurpose.VERIFY_EMAIL):
            raise RateLimitedError("Many codes were sent today. Please try again tomorrow.", retry_after_s=_DAY_S)
        await self.send_verification(user)

    async def send_reset(self, user: User) -> None:
        """Mail a token that sets a new password, unless one was mailed within the last 60 s, or many today."""
        newest, now = await self._newest(user.id, CodePurpose.RESET_PASSWORD), self.ports.clock.now()
        if newest is not None and not newest.may_be_followed(now):
            self.ports.metrics.limit_refused(LimitKind.MAIL)
            return
        if not await self._may_mail(user.id, CodePurpose.RESET_PASSWORD):
            return
        issued = new_reset(user.id, now)
        await self._insert(issued.record)
        self.outbox.post(self.messages.password_reset(user.email, user.display_name, issued.token), user.id)

    async def redeem_verification(self, user: User, presented: str) -> None:
        """Take six digits, or a link's token, of this user; InvalidStateError says what is wrong with it."""
        if not is_code(presented):
            if await self.redeem_token(presented, CodePurpose.VERIFY_EMAIL) != user.id:
                raise _refusal(CodeVerdict.WRONG)
            return
        newest = await self._newest(user.id, CodePurpose.VERIFY_EMAIL)
        if newest is None:
            raise _refusal(CodeVerdict.EXPIRED)
        now = self.ports.clock.now()
        await self._redeem(newest.id, lambda record: try_code(record, presented, now, self.keys))

    async def redeem_token(self, token: str, purpose: CodePurpose) -> UserId:
        """Use a link's token up and return whose it was; InvalidStateError says what is wrong with it."""
        document = await self.ports.store.codes.get_by("token_hash", hash_token(token))
        if document is None:
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
        """Remove all codes of a user who goes, and how many were mailed."""
        await self.forget(user_id, *CodePurpose)
        for purpose in CodePurpose:
            await self.ports.store.reset(_mails_key(user_id, purpose))

    async def _may_mail(self, user_id: UserId, purpose: CodePurpose) -> bool:
        """Count one more mail of today; tell whether it is within the limit."""
        if await self.ports.store.increment(_mails_key(user_id, purpose), ttl_s=_DAY_S) <= MAILS_A_DAY:
            return True
        self.ports.metrics.limit_refused(LimitKind.MAIL)
        return False

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

    async def _insert(self, record: OneTimeCode) -> None:
        await self.ports.store.codes.insert(to_document(replace(record, version=1)))


def _mails_key(user_id: UserId, purpose: CodePurpose) -> str:
    return f"mails:{purpose}:{user_id}"


def _refusal(verdict: CodeVerdict) -> ValidationError:
    sentence = _SENTENCES[verdict]
    return ValidationError(sentence, [FieldProblem("token", sentence, f"code_{verdict.value}")], code="wrong_code")
