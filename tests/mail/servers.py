"""A real SMTP server on the test's own loop, and certificates for it."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import default

from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Mailbox:
    """Takes what is sent to it; ``answers`` are given to the next mails instead, one each."""

    def __init__(self):
        self.envelopes = []
        self.answers = []
        self.recipient_answer = ""
        self.arrived = asyncio.Condition()
        self.hold = None
        self.was_tls = False

    @property
    def messages(self):
        return [message_from_bytes(envelope.content, policy=default) for envelope in self.envelopes]

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - the name is aiosmtpd's
        if self.recipient_answer:
            return self.recipient_answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - the name is aiosmtpd's
        if self.hold:
            await self.hold.wait()
        async with self.arrived:
            self.was_tls = server.transport.get_extra_info("sslcontext") is not None
            answer = self.answers.pop(0) if self.answers else "250 OK"
            if answer.startswith("250"):
                self.envelopes.append(envelope)
            self.arrived.notify_all()
        return answer

    async def wait_for(self, count):
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.envelopes) >= count)


@asynccontextmanager
async def smtp_server(mailbox, *, port=0, starttls=None, tls=None, password=None):
    """Give the port of a server that puts mails into ``mailbox``; with a ``password``, for the user ``us er``."""

    def authenticate(server, session, envelope, mechanism, auth_data):
        is_right = (auth_data.login, auth_data.password) == (b"us er", password)
        return AuthResult(success=is_right, handled=is_right)

    def protocol():
        return SMTP(
            mailbox,
            loop=asyncio.get_running_loop(),
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=authenticate if password else None,
            auth_required=password is not None,
        )

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def make_certificate(directory):
    """Return the TLS contexts of a server at 127.0.0.1 and of a client that trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "server.pem"
    path.write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=pem.decode())
