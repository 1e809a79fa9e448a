"""How the text of a setting becomes a value, and how its rule is told to people.

A :class:`Kind` reads one text or raises ``ValueError``; ``allowed`` is the sentence that is shown both in errors and in
the reference, so that the two cannot differ.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

T = TypeVar("T")
Network = IPv4Network | IPv6Network

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?) ?(ms|s|m|h|d|w)?")
_DURATION_UNITS = {"ms": "0.001", "s": "1", "m": "60", "h": "3600", "d": "86400", "w": "604800"}
_SIZE = re.compile(r"([0-9]{1,12}) ?(?:([kmg])(i?)b?|b)?", re.IGNORECASE)
_SIZE_POWERS = {"k": 1, "m": 2, "g": 3}
_ON = frozenset({"true", "yes", "on", "1"})
_OFF = frozenset({"false", "no", "off", "0"})
_USER_INFO = re.compile(r"(?<=://)([^/?#]*)@")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Secret(str):
    """A text that does not show itself in ``repr``, and so neither in a printed dataclass."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Url(str):
    """A URL that shows itself without its password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(self.masked)

    @property
    def masked(self) -> str:
        """The URL as it may be shown: user information and query become ``***``."""
        head, mark, _ = _USER_INFO.sub("***@", str(self)).partition("?")
        return f"{head}?***" if mark else head

    @property
    def parts(self) -> SplitResult:
        """The URL taken apart."""
        return urlsplit(str(self))


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A rule for the text of a setting."""

    read: Callable[[str], T]
    """Gives the value, or raises ``ValueError``; its words may be shown and never repeat the text."""
    allowed: str
    """What is allowed, as the end of the sentence "allowed is …"."""
    secret: bool = False
    """True where the text itself must not be shown."""


def whole(least: int, most: int) -> Kind[int]:
    """Return the kind of a whole number within bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError
        return int(text)

    return Kind(read, f"a whole number from {least} to {most}")


def duration(least_s: float, most: str) -> Kind[float]:
    """Return the kind of a span of time, given back in seconds; ``most`` is text such as ``90d``."""
    most_s = seconds(most)

    def read(text: str) -> float:
        value_s = seconds(text)
        if not least_s <= value_s <= most_s:
            raise ValueError
        return value_s

    return Kind(read, f"a time such as 500ms, 90s, 15m, 12h or 30d, from {least_s:g}s to {most}")


def size(least: int, most: str) -> Kind[int]:
    """Return the kind of a number of bytes; ``most`` is text such as ``1GiB``."""
    most_bytes = byte_count(most)

    def read(text: str) -> int:
        value = byte_count(text)
        if not least <= value <= most_bytes:
            raise ValueError
        return value

    return Kind(read, f"a size such as 4096, 64KiB or 10MiB, from {least} bytes to {most}")


def flag() -> Kind[bool]:
    """Return the kind of a switch."""

    def read(text: str) -> bool:
        if text.lower() not in _ON | _OFF:
            raise ValueError
        return text.lower() in _ON

    return Kind(read, "on or off (also true, yes, 1, false, no, 0)")


def word(words: type[StrEnum]) -> Kind[Any]:
    """Return the kind of one word out of an enum; upper case is taken too."""
    known = {member.value.lower(): member for member in words}

    def read(text: str) -> StrEnum:
        if text.lower() not in known:
            raise ValueError
        return known[text.lower()]

    return Kind(read, "one of " + ", ".join(member.value for member in words))


def text_up_to(length: int) -> Kind[str]:
    """Return the kind of a short printable text."""

    def read(text: str) -> str:
        if len(text) > length or not text.isprintable():
            raise ValueError
        return text

    return Kind(read, f"a printable text of at most {length} characters")


def secret(least: int) -> Kind[Secret]:
    """Return the kind of a secret with a least length."""

    def read(text: str) -> Secret:
        if len(text) < least:
            raise ValueError
        return Secret(text)

    return Kind(read, f"a secret of at least {least} characters", secret=True)


def several(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """Return the kind of a list with commas between; empty entries are left out."""

    def read(text: str) -> tuple[T, ...]:
        return tuple(kind.read(part.strip()) for part in text.split(",") if part.strip())

    return Kind(read, f"a list with commas between; each is {kind.allowed}", secret=kind.secret)


def folder() -> Kind[Path]:
    """Return the kind of a path; a relative one counts from the working directory and ``~`` is the home."""

    def read(text: str) -> Path:
        if "\0" in text:
            raise ValueError
        return Path(text).expanduser()

    return Kind(read, "a path; a relative one counts from the working directory")


def host() -> Kind[str]:
    """Return the kind of an address to listen on."""

    def read(text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}", text):
            raise ValueError
        return text

    return Kind(read, "an address or host name of this machine, such as 127.0.0.1, :: or 0.0.0.0")


def network() -> Kind[Network]:
    """Return the kind of an address range in CIDR notation; one address is a range of one."""
    return Kind(ip_network, "an address or a range such as 10.0.0.0/8, without bits set behind the mask")


def url(*schemes: str, needs_host: bool = True) -> Kind[Url]:
    """Return the kind of a URL with one of ``schemes``."""

    def read(text: str) -> Url:
        parts = urlsplit(text)
        if parts.scheme not in schemes:
            raise ValueError
        if parts.scheme != "mongodb" and parts.port == 0:  # reading the port also refuses one that is no number
            raise ValueError
        if needs_host and not parts.hostname:
            raise ValueError
        return Url(text)

    return Kind(read, "a URL that begins with " + " or ".join(f"{scheme}://" for scheme in schemes))


def database_url() -> Kind[Url]:
    """Return the kind of ``DATABASE_URL``: a file for SQLite, a server for MongoDB."""
    server = url("mongodb", "mongodb+srv")

    def read(text: str) -> Url:
        if not text.startswith("sqlite:"):
            return server.read(text)
        if not text.startswith("sqlite:///") or not text.removeprefix("sqlite:///").strip("/"):
            raise ValueError
        return Url(text)

    return Kind(read, "sqlite:///PATH, mongodb://HOST/NAME or mongodb+srv://HOST/NAME")


def origin() -> Kind[str]:
    """Return the kind of a web origin (RFC 6454), normalised as browsers send it."""

    def read(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme.lower() not in _DEFAULT_PORTS or not parts.hostname or "*" in text or "@" in parts.netloc:
            raise ValueError
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
        return f"{parts.scheme}://{name}{port}"

    return Kind(read, "an exact origin such as https://app.example.org, no path and no * (credentials are sent)")


def seconds(text: str) -> float:
    """Return the seconds that ``90``, ``500ms`` or ``12h`` means; ``ValueError`` otherwise."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError
    amount, unit = match.groups()
    return float(Decimal(amount) * Decimal(_DURATION_UNITS[unit or "s"]))


def byte_count(text: str) -> int:
    """Return the bytes that ``4096``, ``64KiB`` (powers of 1024) or ``10MB`` (powers of 1000) means."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError
    amount, letter, binary = match.groups()
    return int(amount) * int((1024 if binary else 1000) ** _SIZE_POWERS[letter.lower()] if letter else 1)


def is_loopback(address: str) -> bool:
    """Tell whether listening on ``address`` is listening to this machine alone."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def listing(heading: str, problems: Sequence[str]) -> str:
    """Return one problem as it is, several below ``heading``, one in a line."""
    return problems[0] if len(problems) == 1 else "\n  ".join([heading, *problems])
