"""Reading bodies and queries, whatever comes."""

from typing import Any

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from devpocket.errors import MalformedRequestError, ValidationError
from devpocket.schemas.accounts import LoginRequest, RegisterRequest
from devpocket.schemas.environments import CreateEnvironmentRequest, EnvironmentsQuery
from handlers.requests import MAX_PROBLEMS, bearer_token, content_length, load_body, load_query


def request(body: bytes = b"", query: str = "", **headers: str) -> HTTPServerRequest:
    return HTTPServerRequest(
        start_line=RequestStartLine("POST", f"/?{query}", "HTTP/1.1"),
        headers=HTTPHeaders({"Host": "localhost"} | {name.replace("_", "-"): value for name, value in headers.items()}),
        body=body,
    )


GOOD = b'{"username_or_email": "ann", "password": "x"}'


@pytest.mark.parametrize("content_type", [{}, {"Content_Type": "text/plain"}, {"Content_Type": "application/json"}])
def test_json_is_read_whatever_the_content_type(content_type: dict[str, str]) -> None:
    loaded = load_body(LoginRequest(), request(GOOD, **content_type))
    assert loaded == {"username_or_email": "ann", "password": "x"}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"username=ann",
        b'{"username_or_email": "\xff"}',
        rb'{"username_or_email": "\ud800"}',
        b'{"username_or_email": "\xed\xa0\x80"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"NaN",
        b"\x00",
        b"1" * 5000,
        b"\xef\xbb\xbf{}",
    ],
    ids=repr,
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequestError, match="not JSON"):
        load_body(LoginRequest(), request(body[:200_000]))


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b"1" * 300])
def test_what_is_no_object_names_the_body(body: bytes) -> None:
    with pytest.raises(ValidationError) as caught:
        load_body(LoginRequest(), request(body))
    assert caught.value.problems[0].field in ("body", "username_or_email")


def test_no_body_is_an_empty_object() -> None:
    with pytest.raises(ValidationError) as caught:
        load_body(LoginRequest(), request())
    assert [problem.field for problem in caught.value.problems] == ["username_or_email", "password"]
    assert {problem.code for problem in caught.value.problems} == {"required"}


def test_the_last_of_two_equal_names_counts() -> None:
    body = b'{"password": "old", "username_or_email": "ann", "password": "new"}'
    assert load_body(LoginRequest(), request(body))["password"] == "new"


def test_every_wrong_field_is_named_in_a_plain_sentence() -> None:
    body = b'{"name": 5, "template_id": null, "resource_limits": {"cpu": "much"}, "environment_variables": {"A": 1}}'
    with pytest.raises(ValidationError) as caught:
        load_body(CreateEnvironmentRequest(), request(body))
    error = caught.value
    assert {problem.field: problem.code for problem in error.problems} == {
        "name": "type",
        "template_id": "required",
        "resource_limits.cpu": "invalid",
        "environment_variables.A": "type",
    }
    assert error.public.startswith("name: Send text here.")
    assert len(error.public) < 400


@pytest.mark.parametrize(
    ("name", "cpu", "sentence"),
    [
        ("", "1", "name: Use 1 to 100 characters here."),
        (" ", "1", "name: Use text that can be seen, on one line."),
        ("a", "lots", "resource_limits: Use an amount of CPU like 500m or 2."),
        ("a", "", "resource_limits: Use 1 to 8 characters here."),
    ],
)
def test_one_mistake_is_told_once_with_what_to_write(name: str, cpu: str, sentence: str) -> None:
    body = f'{{"name": "{name}", "template_id": "x", "resource_limits": {{"cpu": "{cpu}"}}}}'.encode()
    with pytest.raises(ValidationError) as caught:
        load_body(CreateEnvironmentRequest(), request(body))
    assert caught.value.public == sentence
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("word", ["duplicate", "validation", "could not create user"])
def test_the_sentence_never_has_the_words_that_the_app_hides(word: str) -> None:
    body = f'{{"name": "x", "template_id": "x", "environment_variables": {{"{word}": 5}}}}'.encode()
    with pytest.raises(ValidationError) as caught:
        load_body(CreateEnvironmentRequest(), request(body))
    assert word not in caught.value.public.lower()


def test_a_thousand_problems_are_cut_short() -> None:
    variables = ",".join(f'"A{number}": {number}' for number in range(1000))
    body = f'{{"name": "x", "template_id": "x", "environment_variables": {{{variables}}}}}'.encode()
    with pytest.raises(ValidationError) as caught:
        load_body(CreateEnvironmentRequest(), request(body))
    assert len(caught.value.problems) == MAX_PROBLEMS


def test_a_name_of_a_megabyte_is_not_repeated() -> None:
    body = b'{"name": "x", "template_id": "x", "environment_variables": {"' + b"A" * 1_000_000 + b'": "x"}}'
    with pytest.raises(ValidationError) as caught:
        load_body(CreateEnvironmentRequest(), request(body))
    assert all(len(problem.field) <= 100 for problem in caught.value.problems)


def test_unknown_fields_are_ignored_and_nulls_are_nothing() -> None:
    body = b'{"username": "ann", "email": "a@b.de", "password": "Tr4in-tunnel", "full_name": null, "extra": {"x": [1]}}'
    loaded = load_body(RegisterRequest(), request(body))
    assert loaded == {"username": "ann", "email": "a@b.de", "password": "Tr4in-tunnel", "full_name": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=x", "limit"),
        ("limit=0", "limit"),
        ("limit=1e2", "limit"),
        ("offset=-1", "offset"),
        ("status=on", "status"),
    ],
)
def test_a_wrong_query_names_its_parameter(query: str, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        load_query(EnvironmentsQuery(), request(query=query))
    assert [problem.field for problem in caught.value.problems] == [field]


def test_a_query_without_parameters_has_defaults() -> None:
    loaded: dict[str, Any] = load_query(EnvironmentsQuery(), request(query="unknown=1"))
    assert loaded == {"status": None, "template_id": None, "limit": 100, "offset": 0}


def test_a_query_that_is_not_utf_8_is_malformed() -> None:
    with pytest.raises(MalformedRequestError, match="UTF-8"):
        load_query(EnvironmentsQuery(), request(query="status=%ff"))


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
    ],
)
def test_bearer_token(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


@pytest.mark.parametrize(("text", "length"), [("5", 5), ("-5", 0), ("x", 0), ("9" * 40, 0), ("\u0665", 0)])
def test_content_length(text: str, length: int) -> None:
    assert content_length(request(Content_Length=text)) == length
