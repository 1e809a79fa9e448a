"""Token buckets as arithmetic: no clock, no storage.

A bucket holds up to ``capacity`` tokens and gains ``refill_per_s`` of them a second; a request takes some or is
refused. An absent bucket is a full one, so idle users cost nothing.
"""

import math
from dataclasses import dataclass

MAX_RETRY_AFTER_S = 60
"""The longest wait that a client is told."""


@dataclass(frozen=True, slots=True)
class BucketRule:
    """How large a bucket is and how fast it fills. Raises ``ValueError`` unless both are positive and finite."""

    capacity: float
    refill_per_s: float

    def __post_init__(self) -> None:
        if not (0 < self.capacity < math.inf and 0 < self.refill_per_s < math.inf):
            raise ValueError("a bucket needs a positive capacity and refill")

    @classmethod
    def per_window(cls, amount: int, window_s: float) -> "BucketRule":
        """Return the rule "``amount`` in ``window_s`` seconds", all of which may come at once."""
        return cls(capacity=amount, refill_per_s=amount / window_s)

    @property
    def fill_time_s(self) -> float:
        """Seconds in which an empty bucket is full again: after that long without use it can be forgotten."""
        return self.capacity / self.refill_per_s


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """The tokens in a bucket at one moment, in seconds of any clock that does not jump back."""

    tokens: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request for tokens."""

    allowed: bool
    remaining: float
    """Tokens left afterwards; below zero after :func:`charge`."""
    retry_after_s: float
    """Seconds until the same request would be allowed; 0 when it was."""
    reset_after_s: float
    """Seconds until the bucket is full."""


def take(rule: BucketRule, bucket: TokenBucket | None, now_s: float, amount: float = 1) -> tuple[TokenBucket, Taken]:
    """Take all of ``amount`` or nothing; return the bucket afterwards and what happened.

    Raises ``ValueError`` for an amount that no full bucket holds, or that is not positive: it could never succeed.
    """
    check_amount(rule, amount)
    level = _level(rule, bucket, now_s)
    allowed = level >= amount
    return _outcome(rule, level - amount if allowed else level, now_s, allowed=allowed, amount=amount)


def charge(rule: BucketRule, bucket: TokenBucket | None, now_s: float, amount: float) -> tuple[TokenBucket, Taken]:
    """Take ``amount`` in any case, going into debt: for what is slowed down instead of refused.

    ``retry_after_s`` is how long to wait before the next, so that the average keeps to the rule.
    """
    left = _level(rule, bucket, now_s) - amount
    return _outcome(rule, left, now_s, allowed=left >= 0, amount=0)


def check_amount(rule: BucketRule, amount: float) -> None:
    """Raise ``ValueError`` for an amount that ``rule`` could never grant."""
    if not 0 < amount <= rule.capacity:
        raise ValueError(f"cannot take {amount} out of a bucket of {rule.capacity}")


def retry_after(wait_s: float, chance: float) -> int:
    """Return whole seconds for ``Retry-After``: 1 to 60, not all clients the same.

    ``chance`` is a random number from 0 to 1. Clients that were refused together are spread over a quarter of the
    wait (a second at least), so that they do not come back together. Up to 45 s it is never less than the wait.
    """
    wait_s = min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)
    spread_s = max(1.0, wait_s / 4)
    earliest_s = min(wait_s, MAX_RETRY_AFTER_S - spread_s)
    return max(1, math.ceil(earliest_s + spread_s * chance))


def _level(rule: BucketRule, bucket: TokenBucket | None, now_s: float) -> float:
    if bucket is None:
        return rule.capacity
    gained = max(0.0, now_s - bucket.at_s) * rule.refill_per_s
    return min(rule.capacity, bucket.tokens + gained)


def _outcome(
    rule: BucketRule, tokens: float, now_s: float, *, allowed: bool, amount: float
) -> tuple[TokenBucket, Taken]:
    missing = 0.0 if allowed else amount - tokens
    taken = Taken(allowed, tokens, missing / rule.refill_per_s, (rule.capacity - tokens) / rule.refill_per_s)
    return TokenBucket(tokens, now_s), taken
