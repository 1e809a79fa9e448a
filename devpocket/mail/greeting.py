"""Whether a mail server takes us, tried without a mail."""

import asyncio
import ssl

import aiosmtplib

from devpocket.mail.sender import DeliveryError
from devpocket.mail.smtp import MailServer


async def greet(server: MailServer, *, timeout_s: float, tls_context: ssl.SSLContext | None = None) -> str:
    """Connect, change to TLS and sign in as for a mail, and leave again; return the server's greeting.

    Raises :class:`~devpocket.mail.sender.DeliveryError` when one of these fails. Cancelling is safe.
    """
    client = aiosmtplib.SMTP(
        **server.connection,
        tls_context=tls_context or ssl.create_default_context(),
        timeout=timeout_s,
    )
    try:
        async with asyncio.timeout(3 * timeout_s):
            greeting = await client.connect()
            await client.quit()
    except aiosmtplib.SMTPResponseException as error:
        raise DeliveryError(f"{type(error).__name__} {error.code}") from error
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise DeliveryError(f"{type(error).__name__}: {error}"[:200]) from error
    finally:
        client.close()
    return " ".join(greeting.message.split())[:100]
