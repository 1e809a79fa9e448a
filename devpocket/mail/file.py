"""Mails as files, for a server without a mail server: any mail program opens them."""

import asyncio
import os
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import default
from email.utils import parsedate_to_datetime
from pathlib import Path

import structlog

from devpocket.mail.messages import Mail
from devpocket.mail.sender import DeliveryError

_log = structlog.get_logger(__name__)


class FileSender:
    """Writes each mail as an ``.eml`` file (RFC 5322) that only the server's own user can read."""

    def __init__(self, directory: Path, *, keep: int = 1000, show_codes: bool = False) -> None:
        self._directory = directory
        self._keep = keep
        self._show_codes = show_codes

    async def send(self, mail: Mail, message: EmailMessage) -> None:
        """Write ``message`` and name the file in the log; the code too only if told to show codes.

        Raises :class:`DeliveryError` when the file cannot be written. When cancelled, the file is whole or not there.
        """
        try:
            path = await asyncio.to_thread(self._write, mail, message)
        except OSError as error:
            raise DeliveryError(f"{type(error).__name__}: {error}"[:200]) from error
        shown = {"digits": mail.code} if self._show_codes and mail.code else {}  # the log hides what is called a code
        _log.info("mail_written", kind=mail.kind.value, path=str(path), **shown)

    async def withdraw(self, mail_id: str) -> None:
        """Remove the file of one mail."""
        await asyncio.to_thread(self._remove, f"*-{mail_id}.eml")

    async def forget(self, address: str) -> None:
        """Remove the files of mails to ``address``."""
        await asyncio.to_thread(self._remove_all_to, address)

    def _remove(self, pattern: str) -> None:
        for path in self._directory.glob(pattern):
            path.unlink(missing_ok=True)

    def _remove_all_to(self, address: str) -> None:
        for path in self._directory.glob("*.eml"):
            try:
                with path.open("rb") as file:
                    recipient = BytesHeaderParser(policy=default).parse(file)["To"]
            except FileNotFoundError:
                continue  # there were too many, and this was one of the oldest
            if recipient is not None and str(recipient).lower() == address.lower():
                path.unlink(missing_ok=True)

    def _write(self, mail: Mail, message: EmailMessage) -> Path:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        at = parsedate_to_datetime(message["Date"])
        unique = message["Message-ID"].strip("<>").partition("@")[0]
        path = self._directory / f"{at:%Y%m%dT%H%M%SZ}-{mail.kind}-{unique}.eml"
        partial = path.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(message.as_bytes())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        self._remove_oldest()
        return path

    def _remove_oldest(self) -> None:
        """Keep the newest files alone; their names begin with the time."""
        for path in sorted(self._directory.glob("*.eml"))[: -self._keep]:
            path.unlink(missing_ok=True)
