"""How many wrong passwords are looked at, and when sign-in is locked. Pure: the counting is the store's.

A sign-in goes like this, with the store's ``increment``, ``window`` and ``reset`` over the keys of :class:`Counter`,
within :meth:`devpocket.auth.turns.Turns.turn` so that right passwords side by side do not count as guesses:

1. ``window(counter.lock_key)`` for each counter: if one is open, refuse until it ends, whatever the password is;
2. ``increment(counter.key, ttl_s=counter.window_s)`` for each counter, *before* looking at the password; a count that
   ``is_over`` is refused until ``window(counter.key)`` ends, so that guesses side by side get no more looks than these;
3. a wrong password at a counter that ``is_full`` starts its lock: ``increment(counter.lock_key, ttl_s=lock_s)``;
4. a right one ends the pair's window (``reset``), takes its own count back from the account's (``amount=-1``), and
   makes the address one of the account's own (``increment(home_key(...), ttl_s=HOME_TTL_S)``).

The lock of account and address comes first, so that a stranger cannot keep the owner out; the lock of the whole
account stops guessing from many addresses, and leaves out the account's own: those from which somebody is signed in,
has signed in lately, or has set a new password by mail. Neither ends a live session. A name that nobody has is
counted the same way, so that a lock does not tell which names exist.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address, ip_network

from devpocket.errors import PermissionDeniedError

HOME_TTL_S = 30 * 24 * 3600
"""How long a sign-in makes its address the account's own."""


@dataclass(frozen=True, slots=True)
class LockoutSettings:
    """When sign-in is locked, and for how long."""

    pair_attempts: int = 5
    """Wrong passwords for one account from one address."""
    account_attempts: int = 20
    """Wrong passwords for one account from all addresses together."""
    lock_s: float = 900
    """How long a lock lasts, and how long wrong passwords are remembered."""


@dataclass(frozen=True, slots=True)
class Counter:
    """What is counted under ``key``: ``limit`` wrong passwords within ``window_s`` open ``lock_key`` for ``lock_s``."""

    key: str
    lock_key: str
    limit: int
    window_s: float
    lock_s: float
    is_pair: bool

    def is_over(self, count: int) -> bool:
        """Tell whether the attempt that made ``count`` is one too many to look at its password."""
        return count > self.limit

    def is_full(self, count: int) -> bool:
        """Tell whether the attempt that made ``count``, once found wrong, starts the lock."""
        return count >= self.limit


def attempt_counters(
    account_key: str, address: str, settings: LockoutSettings, *, is_known_address: bool = False
) -> tuple[Counter, ...]:
    """Return the counters of one sign-in: of the account from this address, and of the account.

    ``account_key`` is the user's id, or for a name that nobody has the name itself, which is never stored in clear.
    From an address that is known to be the account's own only the first counts.
    """
    account = hashlib.sha256(account_key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    pair = _counter(f"{account}:{network_of(address)}", settings.pair_attempts, settings, is_pair=True)
    if is_known_address:
        return (pair,)
    return pair, _counter(account, settings.account_attempts, settings, is_pair=False)


def home_key(account_key: str, address: str) -> str:
    """Return the key of a window that is open while the address is known to be the account's own."""
    place = f"{account_key}@{network_of(address)}"
    return f"sign-in-home:{hashlib.sha256(place.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def locked_error(until: datetime, now: datetime) -> PermissionDeniedError:
    """Return the refusal that says until when sign-in is locked (UTC, rounded up to the minute)."""
    left_s = max(0.0, (until - now).total_seconds())
    shown = datetime.fromtimestamp(-(-until.timestamp() // 60) * 60, UTC)
    sentence = (
        f"Too many wrong passwords: sign-in to this account is locked until {shown:%H:%M} UTC"
        f" on {shown.day} {shown:%B %Y}. Devices that are signed in stay signed in."
    )
    return PermissionDeniedError(sentence, code="account_locked", retry_after_s=left_s)


def network_of(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the 64 bits of IPv6 that one customer is given.

    Text that is no address is returned as it is.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False))


def _counter(subject: str, limit: int, settings: LockoutSettings, *, is_pair: bool) -> Counter:
    return Counter(
        key=f"sign-in:{subject}",
        lock_key=f"sign-in-lock:{subject}",
        limit=limit,
        window_s=settings.lock_s,
        lock_s=settings.lock_s,
        is_pair=is_pair,
    )
