"""What the mails say, in text and HTML, and that nobody's name becomes markup or a header."""

from email import message_from_bytes
from email.policy import default

import pytest

from devpocket.errors import ConfigurationError
from devpocket.mail.messages import Messages, compose, parse_sender
from tests.auth.clocks import START

MESSAGES = Messages("https://dev.example.com/")
SENDER = parse_sender("DevPocket <noreply@example.com>")
TO = "alice@example.org"
EVIL = '<script>alert("x")</script>\r\nBcc: victim@example.com'


def all_mails(name="Alice"):
    return [
        MESSAGES.verification(TO, name, "012345", "tok_en-1"),
        MESSAGES.password_reset(TO, name, "tok_en-2"),
    ]


def delivered(mail):
    """Return the mail as a mail program reads it."""
    message = compose(mail, sender=SENDER, mail_id="id1", created_at=START)
    return message_from_bytes(message.as_bytes(), policy=default)


def parts(mail):
    message = delivered(mail)
    return [message.get_body((kind,)).get_content() for kind in ("plain", "html")]


def test_the_verification_mail_has_the_digits_and_a_link_in_both_parts():
    mail = all_mails()[0]
    for content in parts(mail):
        assert "012345" in content
        assert "https://dev.example.com/verify-email?token=tok_en-1" in content
        assert "24 hours" in content
        assert "Alice" in content
    assert mail.subject == "Verify your DevPocket account"


def test_the_reset_mail_has_the_token_and_its_hour_and_is_of_no_use_later():
    mail = all_mails()[1]
    for content in parts(mail):
        assert "https://dev.example.com/reset-password?token=tok_en-2" in content
        assert "one hour" in content
    assert mail.subject == "Reset your DevPocket password"
    assert mail.good_for_s == 3600


def test_subjects_say_what_it_is_about():
    subjects = [delivered(mail)["Subject"] for mail in all_mails()]
    assert subjects == ["Verify your DevPocket account", "Reset your DevPocket password"]


@pytest.mark.parametrize("mail", all_mails(), ids=lambda mail: mail.kind.value)
def test_headers_name_sender_time_and_identity_and_ask_for_no_automatic_reply(mail):
    message = delivered(mail)
    assert message["From"] == "DevPocket <noreply@example.com>"
    assert message["To"] == TO
    assert message["Date"].datetime == START
    assert message["Message-ID"] == "<id1@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize("index", range(2))
def test_names_become_neither_markup_nor_headers(index):
    mail = all_mails(EVIL)[index]
    message = delivered(mail)
    text, html = parts(mail)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<script>" in text
    assert message["Bcc"] is None
    assert message.get_all("To") == [TO]
    assert len(message["Subject"]) < 150


@pytest.mark.parametrize("index", range(2))
@pytest.mark.parametrize("name", ["Nguyễn Văn A", "李小龍", "\u202eevil", "x" * 100, "\0\x07", "a\u2028b"])
def test_any_name_survives_and_the_bytes_are_plain_ascii_lines(index, name):
    mail = all_mails(name)[index]
    raw = compose(mail, sender=SENDER, mail_id="id1", created_at=START).as_bytes()
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    shown = "".join(char if char.isprintable() else " " for char in name).strip()
    assert all(" ".join(shown.split()) in content for content in parts(mail))


@pytest.mark.parametrize("recipient", ["a@b.co\r\nBcc: x@y.z", "a@b.co, x@y.z", "", "nobody"])
def test_a_recipient_that_is_no_address_is_refused(recipient):
    mail = MESSAGES.password_reset(recipient, "Alice", "tok_en-3")
    with pytest.raises(ValueError, match="address"):
        compose(mail, sender=SENDER, mail_id="id1", created_at=START)


def test_secrets_are_not_shown_when_a_mail_is():
    shown = repr(all_mails()[0])
    assert "012345" not in shown
    assert "tok_en-1" not in shown


@pytest.mark.parametrize("text", ["", "DevPocket", "@example.com", "DevPocket <>", "a@b@c"])
def test_a_sender_that_is_no_address_stops_the_start(text):
    with pytest.raises(ConfigurationError, match="MAIL_FROM"):
        parse_sender(text)


def test_a_bare_address_may_be_the_sender():
    assert str(parse_sender("noreply@localhost")) == "noreply@localhost"
