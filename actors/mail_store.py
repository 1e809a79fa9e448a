"""The outbox's mails, kept in the store."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from devpocket.mail.pending import MailState, PendingMail
from devpocket.store.errors import DuplicateKeyError, MissingDocumentError, VersionConflictError
from devpocket.store.port import Store
from devpocket.store.records import from_document, to_document


@dataclass(frozen=True, slots=True)
class MailStore:
    """An :class:`~devpocket.mail.pending.OutboxStore`."""

    store: Store

    async def insert(self, mail: PendingMail) -> None:
        """Store a new mail; one that is there already stays as it is, and one whose user is going does not stay."""
        try:
            await self.store.mails.insert(to_document(mail))
        except DuplicateKeyError:
            return
        await self._has_user(mail)

    async def claim_due(self, now: datetime, until: datetime, limit: int) -> Sequence[PendingMail]:
        """Return mails that are due and make them this process's until ``until``."""
        due = await self.store.mails.query("state_due", MailState.PENDING.value, upper=now, limit=limit)
        claimed = []
        for document in due:
            mail = replace(from_document(PendingMail, document), due_at=until)
            try:
                claimed.append(from_document(PendingMail, await self.store.mails.replace(to_document(mail))))
            except (VersionConflictError, MissingDocumentError):
                continue  # another process has it, or its user is gone
        return claimed

    async def save(self, mail: PendingMail) -> bool:
        """Store what became of it, unless it is another process's by now; tell whether it is still there."""
        try:
            await self.store.mails.replace(to_document(mail))
        except VersionConflictError:
            return True
        except MissingDocumentError:
            return False
        return await self._has_user(mail)

    async def _has_user(self, mail: PendingMail) -> bool:
        """Tell whether the mail's account is open; remove the mail if it is not, for its removal may be past mails."""
        user = await self.store.users.get(mail.user_id)
        if user is not None and user["is_active"]:
            return True
        await self.store.mails.delete(mail.id)
        return False
