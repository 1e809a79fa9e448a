"""Delivery to a real SMTP server: what it takes, refuses, delays, and how it proves who it is."""

import asyncio
import socket

import pytest

from devpocket.errors import ConfigurationError
from devpocket.mail.messages import Messages, compose, parse_sender
from devpocket.mail.sender import DeliveryError
from devpocket.mail.smtp import SmtpSender, parse_mail_url
from tests.auth.clocks import START
from tests.mail.servers import Mailbox, make_certificate, smtp_server

MAIL = Messages("https://dev.example.com").verification("alice@example.org", "Alice", "012345", "token")
SENDER = parse_sender("DevPocket <noreply@example.com>")
MESSAGE = compose(MAIL, sender=SENDER, mail_id="id1", created_at=START)


@pytest.fixture
def mailbox():
    return Mailbox()


async def send(url, *, timeout_s=5.0, tls_context=None):
    sender = SmtpSender(parse_mail_url(url), sender=SENDER.addr_spec, timeout_s=timeout_s, tls_context=tls_context)
    await sender.send(MAIL, MESSAGE)


async def test_a_mail_arrives_as_it_was_written(mailbox):
    async with smtp_server(mailbox) as port:
        await send(f"smtp://127.0.0.1:{port}")
    (envelope,), (message,) = mailbox.envelopes, mailbox.messages
    assert (envelope.mail_from, envelope.rcpt_tos) == ("noreply@example.com", ["alice@example.org"])
    assert message["Subject"] == "Verify your DevPocket account"
    assert "012345" in message.get_body(("plain",)).get_content()


async def test_user_and_password_come_from_the_url(mailbox, tmp_path):
    server_side, client_side = make_certificate(tmp_path)
    async with smtp_server(mailbox, starttls=server_side, password=b"p@ss/1") as port:
        await send(f"smtp://us%20er:p%40ss%2F1@127.0.0.1:{port}", tls_context=client_side)
        assert len(mailbox.envelopes) == 1
        with pytest.raises(DeliveryError, match="535") as caught:
            await send(f"smtp://us%20er:wrong@127.0.0.1:{port}", tls_context=client_side)
    assert not caught.value.is_permanent
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
async def test_tls_is_used_and_the_certificate_verified(mailbox, tmp_path, scheme):
    server_side, client_side = make_certificate(tmp_path)
    kind = {"tls": server_side} if scheme == "smtps" else {"starttls": server_side}
    async with smtp_server(mailbox, **kind) as port:
        await send(f"{scheme}://127.0.0.1:{port}", tls_context=client_side)
        assert mailbox.was_tls
        with pytest.raises(DeliveryError, match="certificate") as caught:
            await send(f"{scheme}://127.0.0.1:{port}")
    assert not caught.value.is_permanent
    assert len(mailbox.envelopes) == 1


async def test_a_server_without_starttls_gets_nothing_from_who_insists(mailbox):
    async with smtp_server(mailbox) as port:
        for url in (f"smtp+starttls://127.0.0.1:{port}", f"smtp://127.0.0.1:{port}?starttls=always"):
            with pytest.raises(DeliveryError):
                await send(url)
        await send(f"smtp://127.0.0.1:{port}?starttls=never")
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize(
    ("answer", "is_permanent"),
    [("451 try later", False), ("452 full", False), ("550 no", True), ("554 spam", True)],
)
async def test_a_refused_text_is_worth_another_try_or_not(mailbox, answer, is_permanent):
    mailbox.answers = [answer]
    async with smtp_server(mailbox) as port:
        with pytest.raises(DeliveryError, match=answer[:3]) as caught:
            await send(f"smtp://127.0.0.1:{port}")
    assert caught.value.is_permanent is is_permanent


@pytest.mark.parametrize(("answer", "is_permanent"), [("450 greylisted", False), ("550 unknown", True)])
async def test_a_refused_recipient_is_worth_another_try_or_not(mailbox, answer, is_permanent):
    mailbox.recipient_answer = answer
    async with smtp_server(mailbox) as port:
        with pytest.raises(DeliveryError, match=answer[:3]) as caught:
            await send(f"smtp://127.0.0.1:{port}")
    assert caught.value.is_permanent is is_permanent
    assert "alice" not in str(caught.value)


async def test_a_dead_server_is_worth_another_try():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DeliveryError) as caught:
        await send(f"smtp://127.0.0.1:{port}")
    assert not caught.value.is_permanent


async def test_a_silent_server_is_given_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with asyncio.timeout(5):
            with pytest.raises(DeliveryError) as caught:
                await send(f"smtp://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
    assert not caught.value.is_permanent


async def test_a_server_that_never_finishes_is_given_up_in_time(mailbox):
    mailbox.hold = asyncio.Event()
    async with smtp_server(mailbox) as port:
        async with asyncio.timeout(5):
            with pytest.raises(DeliveryError) as caught:
                await send(f"smtp://127.0.0.1:{port}", timeout_s=0.2)
        mailbox.hold.set()
    assert not caught.value.is_permanent


@pytest.mark.parametrize(
    ("url", "port", "use_tls", "start_tls"),
    [
        ("smtp://mail.example.com", 587, False, None),
        ("smtp+starttls://mail.example.com", 587, False, True),
        ("smtp://mail.example.com:25?starttls=always", 25, False, True),
        ("smtp://mail.example.com?starttls=never", 587, False, False),
        ("smtps://mail.example.com", 465, True, False),
        ("smtp://[::1]:2525", 2525, False, None),
    ],
)
def test_the_url_says_how_to_connect(url, port, use_tls, start_tls):
    server = parse_mail_url(url)
    assert (server.port, server.use_tls, server.start_tls) == (port, use_tls, start_tls)


@pytest.mark.parametrize(
    "url",
    ["", "mail.example.com", "http://mail.example.com", "smtp://", "smtp://h:x", "smtp://h:99999", "smtp://h?starttls=1",
     "smtp://u:secret@[", "smtps:h"],
)  # fmt: skip
def test_a_url_that_names_no_mail_server_stops_the_start_and_is_not_repeated(url):
    with pytest.raises(ConfigurationError, match="MAIL_URL: give") as caught:
        parse_mail_url(url)
    assert "secret" not in str(caught.value)


def test_the_password_is_not_shown():
    assert "secret" not in repr(parse_mail_url("smtp://u:secret@mail.example.com"))
