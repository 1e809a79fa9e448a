"""Mails over SMTP (RFC 5321), certificates always verified."""

import asyncio
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from devpocket.errors import ConfigurationError
from devpocket.mail.messages import Mail
from devpocket.mail.sender import DeliveryError

_PORTS = {"smtp": 587, "smtp+starttls": 587, "smtps": 465}
_START_TLS: dict[str, bool | None] = {"auto": None, "always": True, "never": False}


@dataclass(frozen=True, slots=True)
class MailServer:
    """A mail server and how to talk to it."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    use_tls: bool = False
    """TLS from the first byte."""
    start_tls: bool | None = None
    """Ask for TLS after the greeting: True insists, None takes it where offered, False does not."""

    @property
    def connection(self) -> dict[str, Any]:
        """How aiosmtplib is told of it, whatever it is to do there."""
        return {
            "hostname": self.host,
            "port": self.port,
            "username": self.username,
            "password": self.password,
            "use_tls": self.use_tls,
            "start_tls": self.start_tls,
        }


def parse_mail_url(mail_url: str) -> MailServer:
    """Return what ``MAIL_URL`` names: ``smtp://user:password@host:port``, user and password percent-encoded.

    ``smtps`` is TLS from the first byte; ``smtp+starttls``, or ``smtp`` with ``?starttls=always``, insists on STARTTLS;
    plain ``smtp`` takes it where offered, with ``?starttls=never`` not even then.
    Raises :class:`ConfigurationError`, which never repeats the URL, for another shape.
    """
    try:
        url = urlsplit(mail_url)
        port = url.port or _PORTS[url.scheme]
        default = "always" if url.scheme == "smtp+starttls" else "auto"
        start_tls = _START_TLS[parse_qs(url.query).get("starttls", [default])[-1]]
    except (ValueError, KeyError):
        url, port, start_tls = urlsplit(""), 0, None
    if not url.hostname:
        raise ConfigurationError("MAIL_URL: give smtp://, smtps:// or smtp+starttls://user:password@host:port")
    use_tls = url.scheme == "smtps"
    return MailServer(
        host=url.hostname,
        port=port,
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else None,
        use_tls=use_tls,
        start_tls=False if use_tls else start_tls,
    )


class SmtpSender:
    """Delivers each mail over a connection of its own."""

    def __init__(
        self, server: MailServer, *, sender: str, timeout_s: float, tls_context: ssl.SSLContext | None = None
    ) -> None:
        self._server = server
        self._sender = sender
        self._timeout_s = timeout_s
        self._tls_context = tls_context or ssl.create_default_context()

    async def withdraw(self, mail_id: str) -> None:
        """Nothing is kept of a mail that the mail server has taken."""

    async def forget(self, address: str) -> None:
        """Nothing is kept of a mail that the mail server has taken."""

    async def send(self, mail: Mail, message: EmailMessage) -> None:
        """Hand ``message`` to the mail server.

        Raises :class:`DeliveryError`; permanent when the server refuses this recipient or this text for good (5yz,
        RFC 5321, 4.2.1). A refused sign-in or sender is the operator's to mend, so it is worth another try.
        """
        try:
            async with asyncio.timeout(3 * self._timeout_s):
                await aiosmtplib.send(
                    message,
                    sender=self._sender,
                    recipients=[mail.to],
                    **self._server.connection,
                    tls_context=self._tls_context,
                    timeout=self._timeout_s,
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusal = error.recipients[0]
            raise DeliveryError(f"recipient refused with {refusal.code}", is_permanent=refusal.code >= 500) from error
        except aiosmtplib.SMTPDataError as error:
            raise DeliveryError(f"text refused with {error.code}", is_permanent=error.code >= 500) from error
        except aiosmtplib.SMTPResponseException as error:
            raise DeliveryError(f"{type(error).__name__} {error.code}") from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise DeliveryError(f"{type(error).__name__}: {error}"[:200]) from error
