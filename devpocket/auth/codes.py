"""What is sent by mail to prove that somebody reads it: six digits with a link beside them, and reset tokens.

Only hashes are kept. Six digits have few enough values that a plain hash could be searched, so theirs needs the
server's key; a token has 256 random bits, and a plain hash of it is also what finds it.

All functions are pure but for the randomness of :func:`new_verification` and :func:`new_reset`. A try is an event:
:func:`try_code` and :func:`use_token` give the record as it must be stored *before* the verdict is acted on, with
compare-and-set on ``version`` and another try on a conflict. So guesses side by side get no more than the tries there
are, and a code is used once.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from devpocket.auth.tokens import hash_token
from devpocket.ids import UserId, new_id

VERIFICATION_TTL = timedelta(hours=24)
RESET_TTL = timedelta(hours=1)
RESEND_AFTER = timedelta(seconds=60)
MAX_TRIES = 5
_DIGITS = 6
_CODE = re.compile(rf"[0-9]{{{_DIGITS}}}")


class CodePurpose(StrEnum):
    """What a code is good for; one of another purpose does not match."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - the name of a purpose


class CodeVerdict(StrEnum):
    """What a presented code or token is worth."""

    MATCH = "match"
    WRONG = "wrong"
    EXPIRED = "expired"
    USED = "used"
    EXHAUSTED = "exhausted"
    """Too many wrong tries: even the right one is refused now."""


@dataclass(frozen=True, slots=True)
class OneTimeCode:
    """A code or token as it is stored."""

    id: str
    user_id: UserId
    purpose: CodePurpose
    token_hash: str
    created_at: datetime
    expires_at: datetime
    code_hash: str | None = None
    tries: int = 0
    used_at: datetime | None = None
    version: int = 0

    def may_be_followed(self, now: datetime) -> bool:
        """Tell whether another mail may be sent: not within 60 s of this one."""
        return now - self.created_at >= RESEND_AFTER


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """A new record, and the secrets that go into the mail and nowhere else."""

    record: OneTimeCode
    token: str = field(repr=False)
    code: str = field(default="", repr=False)


def new_verification(user_id: UserId, now: datetime, keys: Sequence[bytes]) -> IssuedCode:
    """Return six random digits and a link token, good for 24 hours; ``keys[0]`` hashes the digits."""
    code = f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}d}"
    issued = _new(user_id, CodePurpose.VERIFY_EMAIL, now, VERIFICATION_TTL)
    code_hash = _hash_code(issued.record, code, keys[0])
    return IssuedCode(replace(issued.record, code_hash=code_hash), issued.token, code)


def new_reset(user_id: UserId, now: datetime) -> IssuedCode:
    """Return a token that sets a new password, good for one hour."""
    return _new(user_id, CodePurpose.RESET_PASSWORD, now, RESET_TTL)


def hash_mailbox(email_key: str, purpose: CodePurpose, key: bytes) -> str:
    """Return the keyed hash under which mails to an address are counted."""
    return hmac.new(key, f"mailbox:{purpose}:{email_key}".encode(), hashlib.sha256).hexdigest()


def is_code(text: str) -> bool:
    """Tell whether what came as ``token`` is six typed digits and not the token of a link."""
    return _CODE.fullmatch(_typed(text)) is not None


def try_code(
    record: OneTimeCode, presented: str, now: datetime, keys: Sequence[bytes]
) -> tuple[OneTimeCode, CodeVerdict]:
    """Return the record after this try of six digits, to be stored first, and what the try was worth.

    Any of ``keys`` may have hashed the digits. The record is the same object when nothing needs storing.
    """
    refusal = _refusal(record, now)
    if refusal:
        return record, refusal
    digits = _typed(presented)
    matches = [
        hmac.compare_digest(record.code_hash, _hash_code(record, digits, key)) for key in keys if record.code_hash
    ]
    if any(matches):
        return replace(record, tries=record.tries + 1, used_at=now), CodeVerdict.MATCH
    return replace(record, tries=record.tries + 1), CodeVerdict.WRONG


def use_token(
    record: OneTimeCode, presented: str, purpose: CodePurpose, now: datetime
) -> tuple[OneTimeCode, CodeVerdict]:
    """Return the record after the use of a link's token, to be stored first, and what the token was worth.

    The record is found by ``token_hash``, see :func:`~devpocket.auth.tokens.hash_token`. A wrong token counts as no
    try: it cannot be guessed.
    """
    if record.purpose is not purpose or not hmac.compare_digest(record.token_hash, hash_token(presented)):
        return record, CodeVerdict.WRONG
    if record.used_at:
        return record, CodeVerdict.USED
    if record.expires_at <= now:
        return record, CodeVerdict.EXPIRED
    return replace(record, used_at=now), CodeVerdict.MATCH


def _new(user_id: UserId, purpose: CodePurpose, now: datetime, ttl: timedelta) -> IssuedCode:
    token = secrets.token_urlsafe(32)
    record = OneTimeCode(
        id=new_id(),
        user_id=user_id,
        purpose=purpose,
        token_hash=hash_token(token),
        created_at=now,
        expires_at=now + ttl,
    )
    return IssuedCode(record, token)


def _refusal(record: OneTimeCode, now: datetime) -> CodeVerdict | None:
    if record.used_at:
        return CodeVerdict.USED
    if record.expires_at <= now:
        return CodeVerdict.EXPIRED
    return CodeVerdict.EXHAUSTED if record.tries >= MAX_TRIES else None


def _typed(text: str) -> str:
    """Return the digits without the spaces that typing or pasting puts among them; long text is left alone."""
    return "".join(text.split()) if len(text) <= 4 * _DIGITS else text


def _hash_code(record: OneTimeCode, code: str, key: bytes) -> str:
    """Return the keyed hash of a code, bound to its user, its purpose and this one mail."""
    message = f"code:{record.purpose}:{record.user_id}:{record.id}:{code}"
    return hmac.new(key, message.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
