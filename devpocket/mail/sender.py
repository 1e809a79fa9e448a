"""The port of the senders, and how a delivery fails."""

from email.message import EmailMessage
from typing import Protocol

from devpocket.mail.messages import Mail


class DeliveryError(Exception):
    """The mail was not taken. ``is_permanent``: trying this mail again is of no use."""

    def __init__(self, reason: str, *, is_permanent: bool = False) -> None:
        super().__init__(reason)
        self.is_permanent = is_permanent


class Sender(Protocol):
    """A way out for mails."""

    async def send(self, mail: Mail, message: EmailMessage) -> None:
        """Deliver ``message``, which was composed from ``mail``; raise :class:`DeliveryError` if that fails.

        Cancelling is safe; the mail may or may not have left then.
        """
        ...

    async def withdraw(self, mail_id: str) -> None:
        """Remove what this machine keeps of one mail, whose account has gone while it was delivered."""
        ...

    async def forget(self, address: str) -> None:
        """Remove what this machine keeps of mails to ``address``, whose account is gone."""
        ...
