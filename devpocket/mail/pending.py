"""A mail that waits, as it is stored: its text sealed, because it holds codes that are stored as hashes elsewhere."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from devpocket.ids import UserId, new_id
from devpocket.mail.messages import Mail, MailKind


class MailState(StrEnum):
    """How far a mail is."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PendingMail:
    """One mail of the outbox. ``expires_at`` is when its record goes; None while it waits."""

    id: str
    user_id: UserId
    kind: MailKind
    state: MailState
    created_at: datetime
    due_at: datetime
    give_up_at: datetime
    sealed: bytes = field(default=b"", repr=False)
    tries: int = 0
    last_error: str = ""
    expires_at: datetime | None = None
    version: int = 0

    def retried(self, error: str, due_at: datetime) -> "PendingMail":
        """Return the mail after a failure that may pass."""
        return replace(self, tries=self.tries + 1, last_error=error, due_at=due_at)

    def done(self, state: MailState, expires_at: datetime, error: str = "") -> "PendingMail":
        """Return the record of a mail that was sent or given up, without its text."""
        return replace(self, state=state, tries=self.tries + 1, last_error=error, sealed=b"", expires_at=expires_at)


class OutboxStore(Protocol):
    """Where waiting mails are kept; implemented over the store's ``mails`` by the composition root.

    All raise :class:`~devpocket.errors.UnavailableError` when the store does not answer now.
    """

    async def insert(self, mail: PendingMail) -> None:
        """Store a new mail; storing one that is there already is harmless."""
        ...

    async def claim_due(self, now: datetime, until: datetime, limit: int) -> Sequence[PendingMail]:
        """Return at most ``limit`` pending mails with ``due_at`` <= ``now``, their ``due_at`` moved to ``until``.

        Moved with compare-and-set, so that of several processes one gets each mail; if that dies, another does later.
        """
        ...

    async def save(self, mail: PendingMail) -> bool:
        """Replace the stored mail, unless somebody else has by now; tell whether it is still there, and so its user."""
        ...


class Seal:
    """Encrypts and authenticates the texts of waiting mails (Fernet: AES-128-CBC and HMAC-SHA256)."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take the server's keys: the first seals, all open."""
        self._fernet = MultiFernet(
            [Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"mail-seal:" + key).digest())) for key in keys]
        )

    def close(self, mail: Mail, user_id: UserId, now: datetime) -> PendingMail:
        """Return a new waiting mail that is due now."""
        return PendingMail(
            id=new_id(),
            user_id=user_id,
            kind=mail.kind,
            state=MailState.PENDING,
            created_at=now,
            due_at=now,
            give_up_at=now + timedelta(seconds=mail.good_for_s),
            sealed=self._fernet.encrypt(json.dumps(asdict(mail)).encode()),
        )

    def open(self, pending: PendingMail) -> Mail:
        """Return the mail; :class:`ValueError` when none of the keys fits."""
        try:
            content = json.loads(self._fernet.decrypt(pending.sealed))
        except InvalidToken:
            raise ValueError("sealed with another key") from None
        return Mail(**{**content, "kind": MailKind(content["kind"])})
