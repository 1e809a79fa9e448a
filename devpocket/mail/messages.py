"""What the mails say. Each is written once, as content, and rendered as text and as HTML.

Names are people's own choice and go through escaping; headers take no line breaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from enum import StrEnum
from html import escape
from urllib.parse import quote

from devpocket.errors import ConfigurationError

DAY_S = 24 * 3600
HOUR_S = 3600
_POLICY = SMTP.clone(cte_type="7bit")  # no server on the way has to know 8BITMIME


class MailKind(StrEnum):
    """What a mail is about."""

    VERIFICATION = "verification"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a kind


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to one address. ``good_for_s`` says for how long delivering it makes sense."""

    kind: MailKind
    to: str
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    good_for_s: float = DAY_S
    code: str = field(default="", repr=False)
    """The six digits that the text names, for the log of a developer."""


@dataclass(frozen=True, slots=True)
class _Content:
    name: str
    before: Sequence[str]
    after: Sequence[str]
    code: str = ""
    link: str = ""
    link_label: str = ""


class Messages:
    """Writes the mails of one server; ``frontend_url`` is where their links lead."""

    def __init__(self, frontend_url: str) -> None:
        self._frontend_url = frontend_url.rstrip("/")

    def verification(self, to: str, name: str, code: str, token: str) -> Mail:
        """Return the mail that proves the address: six digits to type, and a link beside them."""
        content = _Content(
            name,
            before=["To verify your e-mail address, type this code in the DevPocket app:"],
            code=code,
            link=self._link("/verify-email", token),
            link_label="Verify my address",
            after=[
                "The code and the link are good for 24 hours.",
                "If you did not create a DevPocket account, ignore this mail.",
            ],
        )
        subject = "Verify your DevPocket account"
        return _mail(MailKind.VERIFICATION, to, subject, content, good_for_s=DAY_S)

    def password_reset(self, to: str, name: str, token: str) -> Mail:
        """Return the mail with the token that sets a new password."""
        content = _Content(
            name,
            before=["Somebody, hopefully you, asked for a new password for your DevPocket account."],
            link=self._link("/reset-password", token),
            link_label="Choose a new password",
            after=[
                "The link is good for one hour and works once. All your devices are signed out when you use it.",
                "If it was not you, ignore this mail: your password stays as it is.",
            ],
        )
        subject = "Reset your DevPocket password"
        return _mail(MailKind.PASSWORD_RESET, to, subject, content, good_for_s=HOUR_S)

    def _link(self, path: str, token: str) -> str:
        return f"{self._frontend_url}{path}?token={quote(token, safe='')}"


def parse_sender(text: str) -> Address:
    """Return the address of ``MAIL_FROM``, ``Name <name@example.com>``; :class:`ConfigurationError` if it is none."""
    name, address = parseaddr(text)
    try:
        return _address(address, one_line(name))
    except ValueError:
        raise ConfigurationError("MAIL_FROM: give an address like DevPocket <noreply@example.com>") from None


def compose(mail: Mail, *, sender: Address, mail_id: str, created_at: datetime) -> EmailMessage:
    """Return the message as it is sent; the same mail always has the same Message-ID, so that a repeat is known as one.

    Raises :class:`ValueError` for a recipient that is no address.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = _address(mail.to)
    message["Subject"] = one_line(mail.subject)
    message["Date"] = format_datetime(created_at)
    message["Message-ID"] = f"<{mail_id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies, please
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


def one_line(text: str) -> str:
    """Return ``text`` with every run of white space and characters that cannot be shown as one space."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _address(text: str, name: str = "") -> Address:
    try:
        return Address(name, addr_spec=text)
    except (IndexError, MessageError, ValueError) as error:  # the parser's answers to an empty and a broken text
        raise ValueError("no e-mail address") from error


def _mail(kind: MailKind, to: str, subject: str, content: _Content, good_for_s: float = DAY_S) -> Mail:
    return Mail(
        kind=kind,
        to=to,
        subject=subject,
        text=_as_text(content),
        html=_as_html(subject, content),
        good_for_s=good_for_s,
        code=content.code,
    )


def _as_text(content: _Content) -> str:
    code = [f"    {content.code}"] if content.code else []
    link = [f"{content.link_label}:\n{content.link}"] if content.link else []
    parts = [f"Hello {one_line(content.name)},", *content.before, *code, *link, *content.after, "DevPocket"]
    return "\n\n".join(parts) + "\n"


def _as_html(title: str, content: _Content) -> str:
    code = f'<p style="font:bold 32px monospace;letter-spacing:6px">{escape(content.code)}</p>' if content.code else ""
    button = "display:inline-block;padding:12px 20px;border-radius:6px;background:#2563eb;color:#fff"
    link = f'<p><a href="{escape(content.link)}" style="{button}">{escape(content.link_label)}</a></p>'
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(title)}</title></head>",
            '<body style="font:16px sans-serif;max-width:32em;margin:0 auto;padding:16px">',
            _paragraphs([f"Hello {one_line(content.name)},", *content.before]),
            code,
            link if content.link else "",
            _paragraphs([*content.after, "DevPocket"]),
            "</body></html>",
            "",
        ]
    )


def _paragraphs(texts: Sequence[str]) -> str:
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)
