"""Access and refresh tokens: JSON Web Tokens (RFC 7519) signed with HS256 and nothing else.

A refresh token's successor is derived from it and the signing key instead of drawn by chance. So when a phone asks
twice with the same token, both answers carry the same successor, and whichever it keeps is the good one.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import jwt

from devpocket.clock import Clock
from devpocket.domain.users import Session, User
from devpocket.errors import ConfigurationError, UnauthenticatedError
from devpocket.ids import SessionId, UserId

ALGORITHM = "HS256"
MIN_KEY_BYTES = 32
"""RFC 7518, 3.2: a key at least as long as the hash."""
MAX_TOKEN_CHARS = 4096
_REFUSAL = "Your sign-in is not valid or has ended. Please sign in again."
_TEXT_CLAIMS = ("sub", "username", "email", "type", "jti", "sid")
_TIME_CLAIMS = ("iat", "exp")
_LATEST = 253_402_300_799
"""The last second of the year 9999, the last that a datetime can hold."""


class TokenType(StrEnum):
    """What a token is good for; each is refused where the other is asked for."""

    ACCESS = "access"
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Keys and lifetimes. Raises :class:`ConfigurationError` for a key that is too short, or none."""

    keys: tuple[bytes, ...] = field(repr=False)
    """``SECRET_KEY``: the first signs, all verify, so that a key can be replaced without signing anybody out."""
    access_ttl_s: float = 12 * 3600
    """How long an access token is good. The app cannot replace one while it is in use, and an ended session is
    refused at once whatever its tokens say, so half a day is kinder than an hour and no less safe."""
    refresh_ttl_s: float = 30 * 24 * 3600
    """How long somebody who does not come back stays signed in."""
    leeway_s: float = 10
    """How far ahead the clock of another server process may be."""

    def __post_init__(self) -> None:
        if not self.keys or any(len(key) < MIN_KEY_BYTES for key in self.keys):
            raise ConfigurationError(f"SECRET_KEY: give one or more keys of at least {MIN_KEY_BYTES} bytes each")


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a verified token says."""

    user_id: UserId
    username: str
    email: str
    type: TokenType
    jti: str
    session_id: SessionId
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a sign-in or a refresh gives: the two tokens, and what to store of the second."""

    access_token: str
    refresh_token: str
    expires_in_s: int
    """How long the access token is good."""
    refresh_hash: str
    """The session's ``token_hash``."""
    refresh_expires_at: datetime
    """The session's ``expires_at``."""


class Tokens:
    """Issues and verifies tokens. Does no I/O; what a session's state says is asked elsewhere."""

    def __init__(self, settings: TokenSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def issue(self, user: User, session_id: SessionId) -> TokenPair:
        """Return the first pair of a new session."""
        return self._pair(user, session_id, secrets.token_urlsafe(24), self._clock.now())

    def rotate(self, user: User, presented: TokenClaims) -> TokenPair:
        """Return the pair that follows the presented refresh token, which must be the session's newest."""
        jti = successor(presented.jti, presented.session_id, self._settings.keys[0])
        return self._pair(user, presented.session_id, jti, self._clock.now())

    def repeat(self, user: User, presented: TokenClaims, session: Session) -> TokenPair:
        """Return the session's newest refresh token once more, to somebody who presents the one before it.

        Raises :class:`UnauthenticatedError` when the presented token is not the one before the newest.
        """
        for jti in self._successors(presented):
            if hash_token(jti) == session.token_hash:
                return self._pair(user, session.id, jti, session.rotated_at or session.created_at)
        raise UnauthenticatedError(_REFUSAL, detail="refresh token is not the one before the newest")

    def successor_hashes(self, presented: TokenClaims) -> frozenset[str]:
        """Return what a session's ``token_hash`` may be if the presented refresh token was the one before."""
        return frozenset(hash_token(jti) for jti in self._successors(presented))

    def verify(self, token: str, expected: TokenType) -> TokenClaims:
        """Return what a token says.

        Raises :class:`UnauthenticatedError`, always with the same sentence, for one that is too long, broken, signed
        by somebody else or with another algorithm, expired, from the future, or of the other type.
        """
        try:
            claims = _read(self._decode(token))
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise UnauthenticatedError(_REFUSAL, detail=f"{type(error).__name__}: {error}"[:200]) from None
        now = self._clock.now()
        if claims.type is not expected:
            raise UnauthenticatedError(_REFUSAL, detail=f"{claims.type} token where {expected} is needed")
        if claims.expires_at <= now:
            raise UnauthenticatedError(_REFUSAL, code="token_expired", detail=f"expired {claims.expires_at}")
        if claims.issued_at > now + timedelta(seconds=self._settings.leeway_s):
            raise UnauthenticatedError(_REFUSAL, detail=f"issued in the future: {claims.issued_at}")
        return claims

    def _pair(self, user: User, session_id: SessionId, refresh_jti: str, refresh_from: datetime) -> TokenPair:
        now = self._clock.now()
        refresh_until = refresh_from + timedelta(seconds=self._settings.refresh_ttl_s)
        refresh = TokenClaims(
            user_id=user.id,
            username=user.username,
            email=user.email,
            type=TokenType.REFRESH,
            jti=refresh_jti,
            session_id=session_id,
            issued_at=refresh_from,
            expires_at=refresh_until,
        )
        access = replace(
            refresh,
            type=TokenType.ACCESS,
            jti=secrets.token_urlsafe(12),
            issued_at=now,
            expires_at=now + timedelta(seconds=self._settings.access_ttl_s),
        )
        return TokenPair(
            access_token=self._encode(access),
            refresh_token=self._encode(refresh),
            expires_in_s=int(self._settings.access_ttl_s),
            refresh_hash=hash_token(refresh_jti),
            refresh_expires_at=refresh_until,
        )

    def _successors(self, presented: TokenClaims) -> list[str]:
        """Return the ``jti`` that follows the presented one under each key: the key may have changed in between."""
        return [successor(presented.jti, presented.session_id, key) for key in self._settings.keys]

    def _encode(self, claims: TokenClaims) -> str:
        return jwt.encode(_write(claims), self._settings.keys[0], algorithm=ALGORITHM)

    def _decode(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that one of the keys signed; the times in them are not looked at yet."""
        if len(token) > MAX_TOKEN_CHARS:
            raise jwt.DecodeError(f"{len(token)} characters long")
        options: jwt.types.Options = {
            "require": [*_TEXT_CLAIMS, *_TIME_CLAIMS],
            "verify_exp": False,  # checked against the injected clock
            "verify_iat": False,
        }
        for key in self._settings.keys:
            try:
                return jwt.decode(token, key, algorithms=[ALGORITHM], options=options)
            except jwt.InvalidSignatureError:
                continue
        raise jwt.InvalidSignatureError("signed with none of the keys")


def hash_token(token: str) -> str:
    """Return what is stored of a token or ``jti``: SHA-256 in hexadecimal, enough for what has 128 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def successor(jti: str, session_id: SessionId, key: bytes) -> str:
    """Return the ``jti`` that follows ``jti`` in its session: without ``key`` as unguessable as a random one."""
    return hmac.new(key, f"refresh-successor:{session_id}:{jti}".encode(), hashlib.sha256).hexdigest()[:48]


def _write(claims: TokenClaims) -> dict[str, str | int]:
    """Return the claims as they stand in a token; times in whole seconds since 1970."""
    return {
        "sub": claims.user_id,
        "username": claims.username,
        "email": claims.email,
        "type": claims.type.value,
        "jti": claims.jti,
        "sid": claims.session_id,
        "iat": int(claims.issued_at.timestamp()),
        "exp": int(claims.expires_at.timestamp()),
    }


def _read(payload: dict[str, Any]) -> TokenClaims:
    """Return the claims with their types; :class:`ValueError` names one that has another."""
    _check_types(payload, _TEXT_CLAIMS, str)
    _check_types(payload, _TIME_CLAIMS, int)
    issued_at, expires_at = (_moment(payload[claim]) for claim in _TIME_CLAIMS)
    return TokenClaims(
        user_id=UserId(payload["sub"]),
        username=payload["username"],
        email=payload["email"],
        type=TokenType(payload["type"]),
        jti=payload["jti"],
        session_id=SessionId(payload["sid"]),
        issued_at=issued_at,
        expires_at=expires_at,
    )


def _check_types(payload: dict[str, Any], claims: Sequence[str], wanted: type) -> None:
    for claim in claims:
        if type(payload[claim]) is not wanted:  # not isinstance: true is no time
            raise ValueError(f"claim {claim} is no {wanted.__name__}")
        if wanted is str:
            payload[claim].encode()  # lone surrogates, which no store takes, are a ValueError


def _moment(epoch_s: int) -> datetime:
    if not 0 <= epoch_s <= _LATEST:
        raise ValueError("time out of range")
    return datetime.fromtimestamp(epoch_s, UTC)
