"""A mail server is tried without a mail."""

import asyncio
import socket
from pathlib import Path

import pytest

from devpocket.mail.greeting import greet
from devpocket.mail.sender import DeliveryError
from devpocket.mail.smtp import parse_mail_url
from tests.mail.servers import Mailbox, make_certificate, smtp_server


async def test_a_server_that_takes_us_is_known_by_its_greeting() -> None:
    mailbox = Mailbox()
    async with smtp_server(mailbox) as port:
        told = await greet(parse_mail_url(f"smtp://127.0.0.1:{port}"), timeout_s=5)
    assert "SMTP" in told
    assert "\n" not in told
    assert mailbox.envelopes == []


async def test_tls_and_password_are_tried_as_for_a_mail(tmp_path: Path) -> None:
    server_side, client_side = make_certificate(tmp_path)
    async with smtp_server(Mailbox(), starttls=server_side, password=b"right") as port:
        for_us, for_nobody = (
            parse_mail_url(f"smtp://us%20er:{secret}@127.0.0.1:{port}") for secret in ("right", "wrong")
        )
        await greet(for_us, timeout_s=5, tls_context=client_side)
        with pytest.raises(DeliveryError, match="535") as refused:
            await greet(for_nobody, timeout_s=5, tls_context=client_side)
        assert "wrong" not in str(refused.value)
        with pytest.raises(DeliveryError, match="certificate"):
            await greet(for_us, timeout_s=5)


async def test_a_server_that_says_nothing_is_left_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(DeliveryError):
            await greet(parse_mail_url(f"smtp://127.0.0.1:{mute.getsockname()[1]}"), timeout_s=0.1)
        assert asyncio.get_running_loop().time() - began_s < 3
