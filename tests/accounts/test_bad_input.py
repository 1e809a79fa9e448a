"""Every field of every operation, filled with everything that does not belong there: a clear no, and never a 500."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from marshmallow import fields

from handlers.openapi import operations_of
from handlers.operations import Operation
from handlers.routes import ROUTES
from tests.accounts.conftest import SignUp
from tests.accounts.people import Json, Person, Web, check_refusal

NOBODYS = "0" * 24
ABSENT = object()
GOOD: Json = {
    "username": "some_body",
    "email": "some_body@example.org",
    "full_name": "Some Body",
    "password": "Turtle55",
    "current_password": "Wrong1234",
    "new_password": "Tortoise77",
    "username_or_email": "some_body",
    "refresh_token": "x.y.z",
    "id_token": "x.y.z",
    "token": "123456",
    "avatar_url": "https://example.org/a.png",
    "preferred_region": "GRA7",
    "name": "one",
    "description": "A thing",
    "template_id": "no-such",
    "resource_limits": {"cpu": "500m", "memory": "512Mi", "storage": "1Gi", "max_instances": 1},
    "default_resources": {"cpu": "500m", "memory": "512Mi", "storage": "1Gi"},
    "environment_variables": {"A": "1"},
    "display_name": "Tiny",
    "category": "devops",
    "docker_image": "debian:12",
    "startup_commands": ["true"],
    "status": "deprecated",
    "tags": ["small"],
    "version": "1.0.0",
    "default_port": 8080,
    "documentation_url": "https://example.org/",
    "icon_url": "https://example.org/i.png",
}
WRONG_TYPES = {
    "true": True,
    "number": 5,
    "fraction": 1.5,
    "beyond 64 bits": 10**30,
    "list": ["x"],
    "object": {"$gt": ""},
    "nested": [[[[[[{}]]]]]],
}
ODD_TEXTS = {
    "empty": "",
    "spaces": " \t ",
    "NUL": "Turtle\0 55",
    "mixed scripts": "p\u0430yp\u0430l_T5",
    "upper-case address": "SOME_BODY@EXAMPLE.ORG",
    "trailing spaces": "Turtle55   ",
    "right to left": "\u202eTurtle55",
    "invisible": "\u200b\ufeff",
    "line breaks": "a@example.org\r\nBcc: b@example.org",
    "operator": '{"$gt": ""}',
    "long": "Aa1" + "x" * 1_000_000,
}
OPERATIONS = {
    f"{verb} {route.path.removeprefix('/api/v1')}": (verb, route.path, described)
    for route in ROUTES
    for verb, described in operations_of(route)
}
WITH_BODY = [name for name, (_, _, described) in OPERATIONS.items() if described.body is not None]
WITH_QUERY = [name for name, (_, _, described) in OPERATIONS.items() if described.query is not None]
WITH_PATH = [name for name, (_, path, _) in OPERATIONS.items() if "{" in path]


class Hammer:
    """Sends one operation again and again, each time with one thing wrong."""

    def __init__(self, web: Web, token: str, name: str) -> None:
        self.web, self.token = web, token
        self.verb, self.path, self.operation = OPERATIONS[name]

    async def send(self, content: bytes | str, query: str = "", parameter: str = "flutter") -> httpx.Response:
        path = "".join(part.rpartition("{")[0] + parameter if "{" in part else part for part in self.path.split("}"))
        response = await self.web.http.request(
            self.verb.upper(), path + query, content=content, headers={"authorization": f"Bearer {self.token}"}
        )
        check_refusal(response)
        return response

    @property
    def body(self) -> Json:
        assert self.operation.body is not None
        return {name: GOOD[name] for name in self.operation.body.fields}

    async def send_field(self, name: str, value: Any) -> httpx.Response:
        body = {each: inner for each, inner in {**self.body, name: value}.items() if inner is not ABSENT}
        return await self.send(json.dumps(body))


@pytest.fixture
async def hammer(request: pytest.FixtureRequest, people: SignUp, chief: Person) -> Hammer:
    operation: Operation = OPERATIONS[request.param][2]
    needs_chief = operation.permission is not None and operation.permission.startswith("admin:")
    person = chief if needs_chief else await people()
    return Hammer(person.web, person.access_token, request.param)


def wrong_for(field: fields.Field[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the values whose type is not that of ``field``."""
    if isinstance(field, fields.String):
        yield from WRONG_TYPES.items()
    elif isinstance(field, fields.Integer):
        yield from ((name, value) for name, value in WRONG_TYPES.items() if name != "number")
        yield "digits as text", "5"
    elif isinstance(field, fields.List):
        yield from ((name, value) for name, value in WRONG_TYPES.items() if name != "list")
        yield "text", "x"
    elif isinstance(field, fields.Mapping | fields.Nested):
        yield from ((name, value) for name, value in WRONG_TYPES.items() if name != "object")
        yield "text", "x"


def assert_named(response: httpx.Response, field: str, what: str) -> None:
    assert response.status_code == 422, f"{field} {what}: {response.status_code} {response.text[:300]}"
    named = {problem["field"].partition(".")[0] for problem in response.json()["errors"]}
    assert named == {field}, f"{field} {what}: {named}"


@pytest.mark.parametrize("hammer", WITH_BODY, indirect=True)
async def test_a_wrong_field_is_refused_by_its_name(hammer: Hammer):
    assert hammer.operation.body is not None
    for name, field in hammer.operation.body.fields.items():
        for what, value in wrong_for(field):
            assert_named(await hammer.send_field(name, value), name, what)
        for what, value in (("absent", ABSENT), ("null", None)):
            response = await hammer.send_field(name, value)
            if field.required:
                assert_named(response, name, what)
        if isinstance(field, fields.String):
            for what in ("long", "NUL"):
                assert_named(await hammer.send_field(name, ODD_TEXTS[what]), name, what)
            for value in ODD_TEXTS.values():
                await hammer.send_field(name, value)
            raw = json.dumps({**hammer.body, name: "MARK"})
            for surrogate in ("\\ud800", "\\udfff x", "\\ud83d"):
                assert (await hammer.send(raw.replace("MARK", surrogate))).status_code == 400


@pytest.mark.parametrize("hammer", WITH_BODY, indirect=True)
async def test_what_is_no_json_object_is_refused(hammer: Hammer):
    whole = json.dumps(hammer.body)
    for content, statuses in (
        (whole[: len(whole) // 2], {400}),
        (whole[:-1], {400}),
        (b"\xff\xfe{}", {400}),
        (whole.encode("utf-16"), {400}),
        ("{" * 50_000, {400}),
        ("[" * 50_000, {400}),
        ('{"a":' * 2000 + "1" + "}" * 2000, {400, 422}),
        ("NaN", {400}),
        ("null", {422}),
        ("[]", {422}),
        ("5", {422}),
        ('"x"', {422}),
        ("a=1&b=2", {400}),
        ("<x/>", {400}),
        (whole + whole, {400}),
        ("\0", {400}),
    ):
        response = await hammer.send(content)
        allowed = statuses | ({200} if not any(f.required for f in hammer.operation.body.fields.values()) else set())  # type: ignore[union-attr]
        assert response.status_code in allowed, f"{content[:30]!r}: {response.status_code} {response.text[:200]}"


@pytest.mark.parametrize("hammer", WITH_QUERY, indirect=True)
async def test_a_wrong_query_is_refused(hammer: Hammer):
    assert hammer.operation.query is not None
    for name, field in hammer.operation.query.fields.items():
        for value in ("", "x", "-1", "0x10", "1e9", "9" * 40, "%00", "true%20", "[]", "x" * 9000, "2026-99-99T99:99"):
            response = await hammer.send("", f"?{name}={value}")
            if isinstance(field, fields.Integer):
                assert response.status_code == 422, f"{name}={value[:30]}: {response.text[:200]}"
        assert (await hammer.send("", f"?{name}=%ff%fe")).status_code == 400
        assert (await hammer.send("", f"?{name}=%ED%A0%80")).status_code == 400
        await hammer.send("", f"?{name}=1&{name}=2&unknown=%00")


@pytest.mark.parametrize("hammer", WITH_PATH, indirect=True)
async def test_a_wrong_path_is_not_found(hammer: Hammer):
    body = json.dumps(hammer.body) if hammer.operation.body is not None else ""
    for parameter in (NOBODYS, "%00", "..%2F..%2Fetc", "x" * 3000, "$where", "%C3%A9", "%20", "0", "%2e%2e", "*"):
        response = await hammer.send(body, parameter=parameter)
        assert response.status_code == 404, f"{parameter[:20]}: {response.status_code} {response.text[:200]}"
    for parameter in ("%ff", "%ED%A0%80"):
        assert (await hammer.send(body, parameter=parameter)).status_code in (400, 404)


async def test_names_of_mixed_scripts_are_no_usernames_and_no_addresses(web: Web):
    for username in (
        "p\u0430ypal",
        "\u0440\u0430\u0443",
        "admin\u200b",
        "\uff41\uff44\uff4d\uff49\uff4e",
        "a b c",
        "a\u0301bc",
    ):
        body = {"username": username, "email": "look@example.org", "password": "Turtle55"}
        assert_named(await web.post("/auth/register", body), "username", username)
    for email in (
        "p\u0430y@example.org",
        "a@ex\u0430mple.org",
        "a@b",
        "a@@b.org",
        "a b@c.org",
        "a@b.org,c@d.org",
        "@b.org",
    ):
        body = {"username": "looker", "email": email, "password": "Turtle55"}
        assert_named(await web.post("/auth/register", body), "email", email)


async def test_an_address_in_capitals_with_spaces_is_the_same_address(web: Web):
    person = Person(web)
    body = {"username": f" {person.username} ", "email": f"  {person.email.upper()} ", "password": person.password}
    made = await web.post("/auth/register", body)
    assert made.status_code == 201
    assert made.json()["user"]["email"] == person.email.upper()
    assert made.json()["user"]["username"] == person.username
    for name in (person.email, f" {person.email.title()} ", f"{person.username.upper()}  "):
        assert (await person.try_sign_in(name=name)).status_code == 200
