"""Reading the mails that a server without a mail server writes into files."""

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from urllib.parse import unquote

from tests.accounts.waiting import until

_DIGITS = re.compile(r"^ {4}([0-9]{6})\r?$", re.MULTILINE)
_TOKEN = re.compile(r"\?token=(\S+)")


def text_of(message: EmailMessage) -> str:
    """Return the plain part of a mail."""
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def digits_of(message: EmailMessage) -> str:
    """Return the six digits to type."""
    found = _DIGITS.search(text_of(message))
    assert found, text_of(message)
    return found[1]


def token_of(message: EmailMessage) -> str:
    """Return the token of the link."""
    found = _TOKEN.search(text_of(message))
    assert found, text_of(message)
    return unquote(found[1])


def written_to(data_dir: Path, address: str, kind: str = "") -> list[EmailMessage]:
    """Return the mails to ``address``, oldest first."""
    found = []
    for path in sorted((data_dir / "mail").glob(f"*-{kind or '*'}-*.eml")):
        message = message_from_bytes(path.read_bytes(), policy=default)
        if str(message["To"]).lower() == address.lower():
            found.append(message)
    return found


async def mail_to(data_dir: Path, address: str, kind: str = "", *, count: int = 1) -> EmailMessage:
    """Return the newest mail to ``address`` once there are ``count``."""

    def enough() -> list[EmailMessage]:
        found = written_to(data_dir, address, kind)
        return found if len(found) >= count else []

    return (await until(enough, f"mail {count} to {address}"))[-1]
