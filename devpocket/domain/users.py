"""Who has an account, who is signed in from where, and the rules for what they may call themselves.

Each rule returns the problems it found, so that a form can show all of them at once; :func:`raise_problems` turns them
into one error.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from devpocket.errors import FieldProblem, ValidationError
from devpocket.ids import SessionId, UserId

MIN_USERNAME = 3
MAX_USERNAME = 30
MAX_EMAIL = 254
"""RFC 5321, 4.5.3.1.3 less the angle brackets."""
MAX_LOCAL_PART = 64
MAX_FULL_NAME = 100
MIN_PASSWORD = 8
MAX_PASSWORD = 128
"""Characters; at most four times as many bytes in UTF-8."""

_USERNAME = re.compile(r"[A-Za-z0-9_-]+")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})+")
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiners: format characters that some scripts and emoji need within a name."""


class Role(StrEnum):
    """What somebody may do on this server; independent of what the plan allows to use."""

    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class User:
    """An account. ``email_key`` and ``username_key`` are what is unique; the other two are as typed."""

    id: UserId
    username: str
    username_key: str
    email: str
    email_key: str
    created_at: datetime
    updated_at: datetime
    password_hash: str | None = None
    """An argon2id hash in PHC form; None for an account that only signs in with Google."""
    google_id: str | None = None
    full_name: str | None = None
    avatar_url: str | None = None
    preferred_region: str | None = None
    role: Role = Role.USER
    subscription_plan: str = "free"
    is_active: bool = True
    is_verified: bool = False
    last_login_at: datetime | None = None
    deletion_requested_at: datetime | None = None
    """Set once its owner deletes the account: no sign-in any more, while what belongs to it is being removed."""
    version: int = 0

    @property
    def display_name(self) -> str:
        """Return how to address the person."""
        return self.full_name or self.username


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in device: a family of refresh tokens of which only the newest is good.

    ``token_hash`` is the hash of the newest token's ``jti``; ``rotated_at`` is when it replaced the one before.
    """

    id: SessionId
    user_id: UserId
    token_hash: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    rotated_at: datetime | None = None
    device: str = ""
    address: str = ""
    version: int = 0

    def rotated(self, token_hash: str, now: datetime, expires_at: datetime) -> "Session":
        """Return the session with a new newest token."""
        return replace(self, token_hash=token_hash, rotated_at=now, last_used_at=now, expires_at=expires_at)


def clean_username(text: str) -> str:
    """Return ``text`` without the spaces that a phone's keyboard adds at its ends."""
    return text.strip()


def clean_email(text: str) -> str:
    """Return ``text`` without the spaces that a phone's keyboard adds at its ends; case stays as typed."""
    return text.strip()


def username_key(username: str) -> str:
    """Return what must be unique: names that differ by case are the same name."""
    return clean_username(username).lower()


def email_key(email: str) -> str:
    """Return what must be unique: phone keyboards capitalise, and mailboxes that differ by case do not exist."""
    return clean_email(email).lower()


def new_user(
    user_id: UserId, username: str, email: str, *, plan: str, now: datetime, full_name: str | None = None
) -> User:
    """Return an account as it begins, with clean names; whether they keep the rules is asked with the rules below."""
    return User(
        id=user_id,
        username=clean_username(username),
        username_key=username_key(username),
        email=clean_email(email),
        email_key=email_key(email),
        full_name=(full_name or "").strip() or None,
        subscription_plan=plan,
        created_at=now,
        updated_at=now,
    )


def is_email_login(login: str) -> bool:
    """Tell whether ``username_or_email`` holds an address; a username has no ``@``."""
    return "@" in login


def login_key(login: str) -> str:
    """Return the ``email_key`` or ``username_key`` that ``username_or_email`` stands for."""
    return email_key(login) if is_email_login(login) else username_key(login)


def username_problems(username: str) -> list[FieldProblem]:
    """Return what is wrong with a username, cleaned before; an empty list if nothing is."""
    if not MIN_USERNAME <= len(username) <= MAX_USERNAME:
        sentence = f"Choose a username of {MIN_USERNAME} to {MAX_USERNAME} characters."
        return [FieldProblem("username", sentence, "length")]
    if not _USERNAME.fullmatch(username):
        sentence = "Use only the letters A to Z, digits, hyphens and underscores in the username."
        return [FieldProblem("username", sentence, "characters")]
    return []


def email_problems(email: str) -> list[FieldProblem]:
    """Return what is wrong with an address, cleaned before; an empty list if nothing is.

    Taken is the dot-atom form of RFC 5321 at a domain of two labels or more, in ASCII: look-alikes from other scripts
    could pose as somebody else's address. An internationalised domain is written in its ``xn--`` form.
    """
    local = email.partition("@")[0]
    if len(email) > MAX_EMAIL or len(local) > MAX_LOCAL_PART:
        return [FieldProblem("email", "This e-mail address is too long.", "length")]
    if not _EMAIL.fullmatch(email):
        return [FieldProblem("email", "Enter an e-mail address like name@example.com.", "format")]
    return []


def full_name_problems(full_name: str) -> list[FieldProblem]:
    """Return what is wrong with a name, cleaned before; any script is welcome, control characters are not."""
    if not 1 <= len(full_name) <= MAX_FULL_NAME:
        return [FieldProblem("full_name", f"Enter a name of 1 to {MAX_FULL_NAME} characters.", "length")]
    if any(unicodedata.category(char) in _UNPRINTABLE and char not in _JOINERS for char in full_name):
        return [FieldProblem("full_name", "The name has characters that cannot be shown.", "characters")]
    return []


_PASSWORD_PARTS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("upper", "an upper-case letter", str.isupper),
    ("lower", "a lower-case letter", str.islower),
    ("digit", "a digit", str.isdecimal),
)


def password_problems(
    password: str, *, is_common: Callable[[str], bool], field: str = "password"
) -> list[FieldProblem]:
    """Return every rule that a new password breaks; ``is_common`` tells the passwords that everybody guesses first."""
    if len(password) > MAX_PASSWORD:
        return [FieldProblem(field, f"Choose a password of at most {MAX_PASSWORD} characters.", "length")]
    if any(char == "\0" or unicodedata.category(char) == "Cs" for char in password):
        return [FieldProblem(field, "The password has characters that cannot be typed.", "characters")]
    problems = []
    if len(password) < MIN_PASSWORD:
        problems.append(FieldProblem(field, f"Choose a password of at least {MIN_PASSWORD} characters.", "length"))
    for code, what, is_part in _PASSWORD_PARTS:
        if not any(is_part(char) for char in password):
            problems.append(FieldProblem(field, f"Use at least {what} in the password.", code))
    if not problems and is_common(password):
        problems.append(FieldProblem(field, "This password is one of the first that others try.", "common"))
    return problems


def raise_problems(problems: list[FieldProblem]) -> None:
    """Raise :class:`ValidationError` with all ``problems`` in one sentence; do nothing when there are none."""
    if problems:
        raise ValidationError(" ".join(problem.message for problem in problems), problems)


def username_candidates(email: str, user_id: UserId) -> Iterator[str]:
    """Yield usernames for somebody who chose none: the address's local part, with 2 to 9, then with random digits.

    The last one is as unguessable as ``user_id``, so taking them in order always ends.
    """
    local = re.sub(r"[^A-Za-z0-9_-]", "", email.partition("@")[0])[: MAX_USERNAME - 9]
    base = local if len(local) >= MIN_USERNAME else f"user{local}"
    yield base
    for number in range(2, 10):
        yield f"{base}{number}"
    yield f"{base}-{user_id[:8]}"
