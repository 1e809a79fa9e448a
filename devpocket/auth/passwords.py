"""Passwords: argon2id (RFC 9106), worked out off the event loop, and the rule for new ones.

A hash costs tens of milliseconds of a core and releases the interpreter lock while it runs. Few workers with a low
priority do it, so a storm of sign-ins makes sign-ins slow and nothing else; what does not fit the queue is refused.
"""

import asyncio
import base64
import os
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from typing import TypeVar

import argon2
import structlog

from devpocket.domain.users import MAX_PASSWORD, password_problems, raise_problems
from devpocket.errors import UnavailableError

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PasswordSettings:
    """What a hash costs and how many are worked out at once.

    The default cost is the OWASP recommendation for argon2id with the least memory; one lane, because the workers are
    what is parallel here. Raising a figure rehashes each password at its next sign-in.
    """

    time_cost: int = 2
    """Passes over the memory."""
    memory_kib: int = 19_456
    """Memory of one hash, in KiB; the workers together use ``workers`` times as much."""
    workers: int = 1
    """Threads; fewer than cores, so that one is left for terminals."""
    queue_limit: int = 256
    """Hashes that may wait or run at once; beyond that, callers are sent away."""
    nice: int = 10
    """What is added to the threads' niceness (0 to 19), see ``setpriority(2)``."""
    retry_after_s: float = 5.0
    """When somebody who was sent away should try again."""


class Passwords:
    """Hashes and verifies passwords in threads of its own; made once by the composition root, which closes it."""

    def __init__(self, settings: PasswordSettings) -> None:
        self._settings = settings
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.time_cost, memory_cost=settings.memory_kib, parallelism=1, type=argon2.Type.ID
        )
        self._nobodys_hash = _unmatched_hash(self._hasher)
        self._executor = ThreadPoolExecutor(
            settings.workers, thread_name_prefix="passwords", initializer=_lower_priority, initargs=(settings.nice,)
        )
        self._pending = 0

    async def hash(self, password: str) -> str:
        """Return the password's argon2id hash in PHC form, salted.

        The password must have passed :func:`check_new_password`. Raises :class:`UnavailableError` when too many wait.
        Cancelling is safe.
        """
        return await self._run(lambda: self._hasher.hash(_to_bytes(password)))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Tell whether the password is the one that was hashed; any text may be asked about.

        Without a hash (an unknown account, or one without a password) the answer is no, after the same work.
        Raises :class:`UnavailableError` when too many wait. Cancelling is safe.
        """
        if password_hash is None or len(password) > MAX_PASSWORD:
            password, password_hash = password[:MAX_PASSWORD], self._nobodys_hash
        return await self._run(lambda: self._matches(password, password_hash))

    def needs_rehash(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other figures than today's; then hash the password anew at sign-in."""
        try:
            return self._hasher.check_needs_rehash(password_hash)
        except argon2.exceptions.InvalidHashError:
            return False

    async def close(self) -> None:
        """Finish the hashes that run, drop those that wait, and end the threads. Closing twice is harmless."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)

    def _matches(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, _to_bytes(password))
        except argon2.exceptions.VerifyMismatchError:
            return False
        except (argon2.exceptions.InvalidHashError, argon2.exceptions.VerificationError) as error:
            _log.error("password_hash_unreadable", error=type(error).__name__)
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= self._settings.queue_limit:
            raise UnavailableError(
                "Too many people are signing in at this moment. Please try again in a few seconds.",
                code="sign_in_busy",
                retry_after_s=self._settings.retry_after_s,
            )
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._pending -= 1


def is_common_password(password: str) -> bool:
    """Tell whether this is one of the passwords that are guessed first, in whatever capitals and between spaces."""
    return password.strip().casefold() in _COMMON


def check_new_password(password: str, *, field: str = "password") -> None:
    """Raise :class:`~devpocket.errors.ValidationError` naming every rule that a new password breaks."""
    raise_problems(password_problems(password, is_common=is_common_password, field=field))


def _to_bytes(password: str) -> bytes:
    """Return what is hashed: NFC (RFC 8265, 4.2), so that a password typed on another keyboard is the same one.

    Lone surrogates, which a new password cannot have, become bytes that match nothing.
    """
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _unmatched_hash(hasher: argon2.PasswordHasher) -> str:
    """Return a well-formed hash of today's cost that is of no password at all: its digest is random."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
        for length in (hasher.salt_len, hasher.hash_len)
    )
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={argon2.low_level.ARGON2_VERSION}${cost}${salt}${digest}"


def _lower_priority(nice: int) -> None:
    """Give the calling thread a lower priority, where threads have one (Linux); typing goes before hashing."""
    if hasattr(os, "setpriority"):
        thread_id = threading.get_native_id()
        try:
            os.setpriority(os.PRIO_PROCESS, thread_id, min(19, os.getpriority(os.PRIO_PROCESS, thread_id) + nice))
        except OSError as error:  # elsewhere a native thread id is no process id
            _log.info("password_thread_priority_unchanged", error=str(error))


def _read_common_passwords() -> frozenset[str]:
    text = resources.files("devpocket.auth").joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line.casefold() for line in text.splitlines() if line and not line.startswith("#"))


_COMMON = _read_common_passwords()
