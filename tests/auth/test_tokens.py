"""Tokens: what is in them, and every way one can be wrong."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from devpocket.auth.tokens import Tokens, TokenSettings, TokenType, hash_token
from devpocket.domain.users import User
from devpocket.errors import ConfigurationError, UnauthenticatedError
from devpocket.ids import SessionId, UserId
from tests.auth.clocks import START, SetClock

KEY = b"k" * 32
OLD_KEY = b"o" * 32
SETTINGS = TokenSettings(keys=(KEY,), access_ttl_s=3600, refresh_ttl_s=7 * 24 * 3600)
USER = User(UserId("u" * 24), "Alice", "alice", "Alice@example.com", "alice@example.com", START, START)
SESSION = SessionId("5" * 24)


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def tokens(clock):
    return Tokens(SETTINGS, clock)


def signed(key=KEY, algorithm="HS256", headers=None, **changes):
    claims = {
        "sub": USER.id,
        "username": USER.username,
        "email": USER.email,
        "type": "access",
        "jti": "j",
        "sid": SESSION,
        "iat": int(START.timestamp()),
        "exp": int(START.timestamp()) + 3600,
    }
    claims.update(changes)
    present = {name: value for name, value in claims.items() if value is not ...}
    return jwt.encode(present, key, algorithm=algorithm, headers=headers)


def raw(header, payload="{}", signature=b"x"):
    parts = (header.encode(), payload.encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_both_tokens_carry_the_documented_claims_and_a_numeric_end(tokens):
    pair = tokens.issue(USER, SESSION)
    assert pair.expires_in_s == 3600
    for token, token_type, ttl_s in ((pair.access_token, "access", 3600), (pair.refresh_token, "refresh", 604800)):
        claims = jwt.decode(token, KEY, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})
        assert set(claims) == {"sub", "username", "email", "type", "jti", "sid", "iat", "exp"}
        assert (claims["sub"], claims["username"], claims["email"]) == (USER.id, "Alice", "Alice@example.com")
        assert (claims["type"], claims["sid"]) == (token_type, SESSION)
        assert (claims["iat"], claims["exp"]) == (START.timestamp(), START.timestamp() + ttl_s)
        assert jwt.get_unverified_header(token)["alg"] == "HS256"


def test_a_verified_token_says_who_and_which_session(tokens):
    pair = tokens.issue(USER, SESSION)
    claims = tokens.verify(pair.access_token, TokenType.ACCESS)
    assert (claims.user_id, claims.session_id, claims.type) == (USER.id, SESSION, TokenType.ACCESS)
    assert (claims.issued_at, claims.expires_at) == (START, START + timedelta(hours=1))
    refresh = tokens.verify(pair.refresh_token, TokenType.REFRESH)
    assert hash_token(refresh.jti) == pair.refresh_hash
    assert refresh.expires_at == pair.refresh_expires_at


def test_no_two_sign_ins_share_a_token(tokens):
    pairs = [tokens.issue(USER, SESSION) for _ in range(20)]
    assert len({pair.refresh_hash for pair in pairs}) == 20
    assert len({pair.access_token for pair in pairs}) == 20


@pytest.mark.parametrize("wrong", list(TokenType))
def test_one_type_is_refused_where_the_other_is_asked_for(tokens, wrong):
    pair = tokens.issue(USER, SESSION)
    token = pair.access_token if wrong is TokenType.ACCESS else pair.refresh_token
    other = TokenType.REFRESH if wrong is TokenType.ACCESS else TokenType.ACCESS
    with pytest.raises(UnauthenticatedError):
        tokens.verify(token, other)


def test_a_token_ends_on_time(tokens, clock):
    token = tokens.issue(USER, SESSION).access_token
    clock.advance(3599)
    tokens.verify(token, TokenType.ACCESS)
    clock.advance(1)
    with pytest.raises(UnauthenticatedError) as caught:
        tokens.verify(token, TokenType.ACCESS)
    assert caught.value.code == "token_expired"


def test_a_clock_a_little_ahead_is_forgiven_a_far_one_is_not(tokens):
    near, far = int(START.timestamp()) + 10, int(START.timestamp()) + 11
    tokens.verify(signed(iat=near), TokenType.ACCESS)
    with pytest.raises(UnauthenticatedError):
        tokens.verify(signed(iat=far), TokenType.ACCESS)


BAD_CLAIMS = [
    *({claim: ...} for claim in ("sub", "username", "email", "type", "jti", "sid", "iat", "exp")),
    {"iat": int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())},
    {"exp": 10**30},
    {"exp": -1},
    {"exp": True},
    {"exp": 1.5e12},
    {"exp": float("inf")},
    {"exp": float("nan")},
    {"exp": "9999999999"},
    {"iat": None},
    {"iat": -1},
    {"sub": None},
    {"sid": ["s"]},
    {"email": {"a": 1}},
    {"type": "access_token"},
    {"type": ""},
    {"nbf": 10**12},
]


@pytest.mark.parametrize("changes", BAD_CLAIMS, ids=str)
def test_wrong_claims_are_refused_though_well_signed(tokens, changes):
    try:
        token = signed(**changes)
    except TypeError:  # this library will not sign it, another would
        token = jwt.api_jws.encode(json.dumps({"sub": None} | changes).encode(), KEY, algorithm="HS256")
    with pytest.raises(UnauthenticatedError):
        tokens.verify(token, TokenType.ACCESS)


def bad_tokens():
    good = signed()
    header, payload, signature = good.split(".")
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    yield from ("", ".", "..", "...", "a.b.c", "not a token", "Bearer " + good, good + ".", "é.é.é", "\ud800", "\0")
    yield from (
        good[:-1],
        good[:-10],
        good[1:],
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}..{signature}",
    )
    yield f"{header}.{payload}.{'A' * len(signature)}"
    yield f"{header}.{signed(sub='f' * 24).split('.')[1]}.{signature}"
    yield raw('{"alg":"none","typ":"JWT"}', "{}", b"")
    yield jwt.encode({"sub": USER.id}, "", algorithm="none")
    yield signed(key=b"w" * 32)
    yield signed(key=b"k" * 64, algorithm="HS512")
    yield signed(key=private_key, algorithm="RS256")
    yield signed(headers={"crit": ["b64"], "b64": False})
    yield from (raw("[]"), raw("null"), raw("{"), raw('{"alg":null}'), raw('{"alg":["HS256"]}'), raw('{"alg":"hs256"}'))
    yield raw("[" * 2900)
    yield raw('{"alg":' + "9" * 2900 + "}")
    yield jwt.api_jws.encode(b"[" * 2900, KEY, algorithm="HS256")
    yield jwt.api_jws.encode(b"[]", KEY, algorithm="HS256")
    yield jwt.api_jws.encode(b"\xff", KEY, algorithm="HS256")
    yield signed(padding="x" * 4096)
    yield "x" * 10**6


@pytest.mark.parametrize("token", list(bad_tokens()), ids=lambda token: ascii(token)[:30])
def test_broken_and_foreign_tokens_are_refused_with_the_one_sentence(tokens, token):
    with pytest.raises(UnauthenticatedError) as caught:
        tokens.verify(token, TokenType.ACCESS)
    assert caught.value.public == "Your sign-in is not valid or has ended. Please sign in again."


def test_an_older_key_still_verifies_and_the_first_signs(clock):
    before = Tokens(replace(SETTINGS, keys=(OLD_KEY,)), clock)
    after = Tokens(replace(SETTINGS, keys=(KEY, OLD_KEY)), clock)
    gone = Tokens(replace(SETTINGS, keys=(KEY,)), clock)
    old = before.issue(USER, SESSION).access_token
    assert after.verify(old, TokenType.ACCESS).user_id == USER.id
    with pytest.raises(UnauthenticatedError):
        gone.verify(old, TokenType.ACCESS)
    assert gone.verify(after.issue(USER, SESSION).access_token, TokenType.ACCESS).user_id == USER.id


@pytest.mark.parametrize("keys", [(), (b"short",), (KEY, b"short")])
def test_short_keys_are_refused_at_the_start_and_none_is_shown(keys):
    with pytest.raises(ConfigurationError, match="at least 32 bytes"):
        TokenSettings(keys=keys)
    assert "kkk" not in repr(SETTINGS)
