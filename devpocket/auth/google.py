"""Signing in with Google: the ID token that the app was given, verified by google-auth.

Verifying may fetch Google's certificates and does arithmetic on large numbers, so it runs in threads of its own.
https://developers.google.com/identity/sign-in/web/backend-auth says what is to be checked.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from google.auth import exceptions as google_errors
from google.auth import jwt as google_jwt

from devpocket.domain.users import clean_email, email_problems, full_name_problems
from devpocket.errors import UnauthenticatedError, UnavailableError

CERTIFICATES_URL = "https://www.googleapis.com/oauth2/v1/certs"
ISSUERS = ("accounts.google.com", "https://accounts.google.com")
MAX_TOKEN_CHARS = 8192
_MAX_CERTIFICATES_BYTES = 256 * 1024
_MAX_PICTURE_CHARS = 2048
_REFUSAL = "Google's confirmation of your sign-in is not valid. Please sign in with Google again."


@dataclass(frozen=True, slots=True)
class GoogleSettings:
    """Whose ID tokens are taken, and where their keys are published."""

    client_ids: tuple[str, ...] = ()
    """Accepted audiences: the app's client id on each platform. Without one, signing in with Google is off."""
    certificates_url: str = CERTIFICATES_URL
    """Gives a JSON object of X.509 certificates by key id."""
    timeout_s: float = 5.0
    """For connecting to that address, again for its first answer, and again for the whole of it."""
    workers: int = 2
    """Threads that verify."""
    queue_limit: int = 64
    """Tokens that may wait or be verified at once; beyond that, callers are sent away."""
    clock_skew_s: int = 10
    """How far this machine's clock and Google's may differ."""


@dataclass(frozen=True, slots=True)
class GoogleIdentity:
    """Whom Google vouches for; the address is verified and well-formed, and so are name and picture, or absent."""

    google_id: str
    email: str
    full_name: str | None
    picture_url: str | None


class Google:
    """Verifies ID tokens; made once by the composition root, which closes it."""

    def __init__(self, settings: GoogleSettings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._certificates = _Certificates(settings, monotonic)
        self._executor = ThreadPoolExecutor(settings.workers, thread_name_prefix="google")
        self._pending = 0

    @property
    def is_configured(self) -> bool:
        """Tell whether anybody can sign in with Google here."""
        return bool(self._settings.client_ids)

    async def verify(self, id_token: str) -> GoogleIdentity:
        """Return whom a genuine ID token names.

        Raises :class:`UnauthenticatedError` for a token that is broken, signed by somebody else, expired, meant for
        another app or of an address that Google has not verified; :class:`UnavailableError` when signing in with
        Google is off, Google's certificates cannot be had, or too many wait. Cancelling is safe.
        """
        if not self.is_configured:
            raise UnavailableError("Signing in with Google is not set up on this server.", code="google_not_configured")
        if len(id_token) > MAX_TOKEN_CHARS:
            raise UnauthenticatedError(_REFUSAL, detail=f"{len(id_token)} characters long")
        if self._pending >= self._settings.queue_limit:
            raise _unavailable("too many wait")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._verify, id_token)
        finally:
            self._pending -= 1

    async def close(self) -> None:
        """Wait for the verifications that run, at most their time limits, and end the threads."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
        self._certificates.close()

    def _verify(self, id_token: str) -> GoogleIdentity:
        certificates = self._certificates.get()
        try:
            claims: Mapping[str, Any] = google_jwt.decode(  # type: ignore[no-untyped-call]
                id_token,
                certs=certificates,
                audience=list(self._settings.client_ids),
                clock_skew_in_seconds=self._settings.clock_skew_s,
            )
            return _identity(claims)
        except (google_errors.GoogleAuthError, ValueError, TypeError, RecursionError) as error:
            raise UnauthenticatedError(_REFUSAL, detail=f"{type(error).__name__}: {error}"[:200]) from None


class _Certificates:
    """The published certificates, fetched by one thread at a time and kept as long as their ``max-age`` says."""

    def __init__(self, settings: GoogleSettings, monotonic: Callable[[], float]) -> None:
        self._url = settings.certificates_url
        self._timeout_s = settings.timeout_s
        self._monotonic = monotonic
        self._session = requests.Session()
        self._lock = threading.Lock()
        self._known: Mapping[str, str] = {}
        self._good_until = float("-inf")

    def get(self) -> Mapping[str, str]:
        with self._lock:
            if self._monotonic() >= self._good_until:
                self._known, max_age_s = self._fetch()
                self._good_until = self._monotonic() + max_age_s
            return self._known

    def close(self) -> None:
        self._session.close()

    def _fetch(self) -> tuple[Mapping[str, str], int]:
        try:
            with self._session.get(self._url, timeout=self._timeout_s, stream=True) as response:
                if response.status_code != 200:
                    raise _unavailable(f"certificates: status {response.status_code}")
                certificates = json.loads(self._read(response))
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, RecursionError) as error:
            raise _unavailable(f"certificates: {type(error).__name__}: {error}"[:200]) from error
        if not isinstance(certificates, dict) or not all(isinstance(text, str) for text in certificates.values()):
            raise _unavailable("certificates: not an object of texts")
        max_age = re.search(r"max-age=([0-9]{1,9})", response.headers.get("cache-control", ""))
        return certificates, int(max_age[1]) if max_age else 0

    def _read(self, response: requests.Response) -> bytes:
        """Return the body, unless it is too long or trickles: each read has a time limit, and so have all together."""
        content, give_up_at = b"", time.monotonic() + self._timeout_s
        while piece := response.raw.read1(16 * 1024, decode_content=True):
            content += piece
            if len(content) > _MAX_CERTIFICATES_BYTES or time.monotonic() > give_up_at:
                raise _unavailable(f"certificates: {len(content)} bytes and no end")
        return content


def _identity(claims: Mapping[str, Any]) -> GoogleIdentity:
    """Return whom verified claims name; :class:`ValueError` for claims that do not name anybody for us."""
    if claims.get("iss") not in ISSUERS:
        raise ValueError("wrong issuer")
    if any(type(claims.get(name)) is not int for name in ("iat", "exp")):  # not a number that compares oddly
        raise ValueError("a time is no whole number")
    if claims.get("email_verified") is not True and claims.get("email_verified") != "true":
        raise ValueError("the address is not verified")
    google_id, email = claims.get("sub"), claims.get("email")
    if not isinstance(google_id, str) or not 1 <= len(google_id) <= 255:
        raise ValueError("no subject")
    if not isinstance(email, str) or email_problems(clean_email(email)):
        raise ValueError("no address")
    name, picture = _text(claims, "name").strip(), _text(claims, "picture")
    return GoogleIdentity(
        google_id,
        clean_email(email),
        full_name=name if not full_name_problems(name) else None,
        picture_url=picture if picture.startswith("https://") and len(picture) <= _MAX_PICTURE_CHARS else None,
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _unavailable(detail: str) -> UnavailableError:
    return UnavailableError(
        "Google cannot be asked at this moment. Please try again in a minute, or sign in with your password.",
        code="google_unavailable",
        detail=detail,
        retry_after_s=60,
    )
