"""Access and refresh tokens: what they say, and every way in which one can be wrong."""

import asyncio
import base64
import json
import time
from typing import Any

import jwt
import pytest

from tests.accounts.conftest import Cluster, SignUp, running
from tests.accounts.people import Json, Person, Web

KEY = "k" * 70
OLD_KEY = "o" * 70


def claims_of(token: str) -> Json:
    claims: Json = jwt.decode(token, options={"verify_signature": False})
    return claims


def encoded(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


async def status_of(web: Web, token: str) -> int:
    return (await web.call("GET", "/auth/me", token=token)).status_code


async def test_tokens_say_who_and_for_how_long(person: Person):
    access, refresh = claims_of(person.access_token), claims_of(person.refresh_token)
    for claims, kind in ((access, "access"), (refresh, "refresh")):
        assert set(claims) == {"sub", "username", "email", "type", "jti", "sid", "iat", "exp"}
        assert (claims["sub"], claims["username"], claims["email"]) == (person.id, person.username, person.email)
        assert claims["type"] == kind
        assert abs(claims["iat"] - time.time()) < 10
    assert access["sid"] == refresh["sid"]
    assert access["jti"] != refresh["jti"]
    assert access["exp"] - access["iat"] == person.tokens["expires_in"]
    assert jwt.get_unverified_header(person.access_token)["alg"] == "HS256"


async def test_each_token_is_refused_where_the_other_is_asked_for(person: Person):
    assert await status_of(person.web, person.refresh_token) == 401
    assert (await person.web.post("/auth/refresh", {"refresh_token": person.access_token})).status_code == 401
    assert await person.is_signed_in()


async def test_every_wrong_token_is_a_401_and_nothing_worse(person: Person):
    header, payload, signature = person.access_token.split(".")
    claims = claims_of(person.access_token)
    stranger = "s" * 70
    wrong = {
        "cut by one": person.access_token[:-1],
        "cut in half": person.access_token[: len(person.access_token) // 2],
        "without signature": f"{header}.{payload}.",
        "re-signed": jwt.encode(claims, stranger, algorithm="HS256"),
        "payload exchanged": f"{header}.{encoded(claims | {'sub': 'somebody'})}.{signature}",
        "alg none": f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        "alg None": f"{encoded({'alg': 'None'})}.{payload}.{signature}",
        "alg HS512": jwt.encode(claims, stranger, algorithm="HS512"),
        "alg is a list": f"{encoded({'alg': ['HS256']})}.{payload}.{signature}",
        "header is a list": f"{encoded([])}.{payload}.{signature}",
        "eight thousand dots": "." * 8000,
        "one word": "token",
        "Latin": "caf\u00e9",
        "spaces": "a b c",
    }
    for reason, token in wrong.items():
        answer = await person.web.call(
            "GET", "/auth/me", headers={"authorization": f"Bearer {token}".encode("latin-1")}
        )
        assert answer.status_code == 401, reason
        assert (await person.web.post("/auth/refresh", {"refresh_token": token})).status_code == 401, reason
    for scheme in ("", "Bearer", "Basic dTpw", f"Token {person.access_token}"):
        answer = await person.web.call("GET", "/auth/me", headers={"authorization": scheme})
        assert answer.status_code == 401, scheme
        assert answer.headers["www-authenticate"] == "Bearer"
    assert await person.is_signed_in()


async def test_a_well_signed_token_must_also_make_sense_and_old_keys_are_still_believed():
    now = int(time.time())
    with running(SECRET_KEY=OLD_KEY) as process:
        async with Web(process.url) as web:
            person = await Person(web).sign_up()
            claims = claims_of(person.access_token)
            assert jwt.decode(person.access_token, OLD_KEY, algorithms=["HS256"])["sub"] == person.id
            wrong: list[Json] = [
                {"iat": now + 10 * 365 * 86400, "exp": now + 20 * 365 * 86400},
                {"iat": now + 3600},
                {"exp": now - 1},
                {"exp": "tomorrow"},
                {"exp": True},
                {"exp": 10**30},
                {"iat": -5},
                {"iat": None},
                {"sub": 5},
                {"sub": None},
                {"sub": "nobody"},
                {"sub": "\ud800"},
                {"sid": "0" * 24},
                {"sid": []},
                {"type": "admin"},
                {"type": "refresh"},
                {"jti": None},
            ]
            for changes in wrong:
                token = jwt.encode(claims | changes, OLD_KEY, algorithm="HS256")
                assert await status_of(web, token) == 401, changes
            for missing in claims:
                rest = {name: value for name, value in claims.items() if name != missing}
                assert await status_of(web, jwt.encode(rest, OLD_KEY, algorithm="HS256")) == 401, missing
            assert await status_of(web, jwt.encode(claims, OLD_KEY, algorithm="HS512")) == 401
            assert await status_of(web, jwt.encode(claims, OLD_KEY, algorithm="HS256")) == 200
        process.stop()
        process.variables["SECRET_KEY"] = f"{KEY},{OLD_KEY}"
        process.start()
        async with Web(process.url) as web:
            same = person.at(web)
            assert await same.is_signed_in()
            assert (await same.try_refresh()).status_code == 200
            assert jwt.decode(same.access_token, KEY, algorithms=["HS256"])["sub"] == person.id
        process.stop()
        process.variables["SECRET_KEY"] = KEY
        process.start()
        async with Web(process.url) as web:
            assert not await person.at(web).is_signed_in()
            assert await same.at(web).is_signed_in()


async def test_refresh_rotates_and_a_used_token_ends_its_family(both: tuple[Web, Web], cluster: Cluster):
    person = await Person(both[0]).sign_up()
    first = dict(person.tokens)
    assert (await person.try_refresh()).status_code == 200
    assert person.refresh_token != first["refresh_token"]
    assert person.access_token != first["access_token"]
    assert (await person.try_refresh()).status_code == 200
    stolen = person.at(both[1])
    stolen.tokens = first
    assert await stolen.is_signed_in(), "an access token lives on when its pair is refreshed"
    assert (await stolen.try_refresh()).status_code == 401
    assert (await person.try_refresh()).status_code == 401, "the whole family has ended"
    assert not await person.is_signed_in()
    lines = list(cluster.database.audit.find({"user_id": person.id, "action": "refresh_reuse"}))
    assert len(lines) == 1
    assert lines[0]["address"] == "127.0.0.1"
    assert lines[0]["device"] == "tests"


async def test_two_refreshes_that_race_do_not_sign_anybody_out(both: tuple[Web, Web], cluster: Cluster):
    person = await Person(both[0]).sign_up()
    used = person.refresh_token
    asked = {"refresh_token": used}
    answers = await asyncio.gather(*(web.post("/auth/refresh", asked) for web in both for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    for answer in answers:
        assert await status_of(both[1], answer.json()["access_token"]) == 200
    repeated = await person.try_refresh(used)
    assert repeated.status_code == 200, "a retry within ten seconds"
    sid = claims_of(used)["sid"]
    session = cluster.database.sessions.find_one({"_id": sid})
    assert session is not None
    long_ago = session["rotated_at"].replace(year=session["rotated_at"].year - 1)
    cluster.database.sessions.update_one({"_id": sid}, {"$set": {"rotated_at": long_ago}})
    assert (await person.try_refresh(used)).status_code == 401, "ten seconds are over"
    assert not await person.is_signed_in()


async def test_the_newest_token_works_after_a_retry_took_the_other_answer(people: SignUp):
    person = await people()
    used = person.refresh_token
    await person.try_refresh()
    kept = person.refresh_token
    await person.try_refresh(used)
    assert (await person.try_refresh(kept)).status_code == 200


@pytest.mark.parametrize("body", [{}, {"refresh_token": None}, {"refresh_token": 5}, {"refresh_token": ""}, []])
async def test_a_refresh_without_a_token_is_a_wrong_field(web: Web, body: Any):
    assert (await web.post("/auth/refresh", body)).status_code == 422
