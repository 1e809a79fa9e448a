"""The rules for names, addresses and passwords, and what two accounts may not share."""

from datetime import UTC, datetime

import pytest

from devpocket.domain.users import (
    MAX_USERNAME,
    Session,
    clean_email,
    email_key,
    email_problems,
    full_name_problems,
    is_email_login,
    login_key,
    password_problems,
    raise_problems,
    username_candidates,
    username_key,
    username_problems,
)
from devpocket.errors import ValidationError
from devpocket.ids import SessionId, UserId

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def shortened(value):
    return ascii(value)[:40]


def never_common(_: str) -> bool:
    return False


@pytest.mark.parametrize("username", ["abc", "a_b", "A-1", "x" * MAX_USERNAME, "___", "007"])
def test_usernames_that_the_app_or_a_server_allows_are_taken(username):
    assert username_problems(username) == []


BAD_USERNAMES = [
    "", "ab", "x" * (MAX_USERNAME + 1), "a b", "a.b.c", "a@b.c", "nu\u021bu", "\u0430dmin", "a\0b", "abc\n", "ab\ud800",
    "x" * 10**6,
]  # fmt: skip


@pytest.mark.parametrize("username", BAD_USERNAMES, ids=shortened)
def test_other_usernames_are_refused_with_one_sentence(username):
    (problem,) = username_problems(username)
    assert problem.field == "username"
    assert problem.message.endswith(".")


@pytest.mark.parametrize("email", ["a@b.co", "A.b+c@Example.COM", "o'neil@mail.example.org", "x@xn--bcher-kva.example"])
def test_addresses_are_taken(email):
    assert email_problems(email) == []


BAD_ADDRESSES = [
    "", "a", "@b.co", "a@", "a@b", "a@b.", "a@.b", "a..b@c.de", ".a@b.co", "a@b.co\n", "a@b.co, c@d.ef", "a b@c.de",
    "<a@b.co>", "a@b@c.de", "a\0@b.co", "a@b.co\r\nBcc: x@y.z", "a\ud800@b.co", "\u0430lice@example.com",
    "a@ex\u00e4mple.com", "x" * 65 + "@b.co", "a@" + "b" * 250 + ".co", "a@-b.co", "a@b-.co", "x" * 10**6,
]  # fmt: skip


@pytest.mark.parametrize("email", BAD_ADDRESSES, ids=shortened)
def test_what_is_no_address_is_refused(email):
    (problem,) = email_problems(email)
    assert problem.field == "email"


def test_names_and_addresses_that_differ_by_case_or_outer_spaces_are_the_same():
    assert username_key(" Alice ") == username_key("aLICE") == "alice"
    assert email_key("Alice@Example.com ") == email_key("alice@example.COM") == "alice@example.com"
    assert clean_email(" Alice@Example.com\n") == "Alice@Example.com"


def test_a_login_is_an_address_when_it_has_an_at_sign():
    assert is_email_login("Alice@Example.com")
    assert not is_email_login("Alice")
    assert login_key(" Alice ") == "alice"
    assert login_key("Alice@Example.com ") == "alice@example.com"


@pytest.mark.parametrize(
    "name", ["Zoë", "Nguyễn Văn A", "李小龍", "O'Brien <b>", "👩\u200d💻", "x" * 100], ids=shortened
)
def test_names_of_people_come_in_any_script(name):
    assert full_name_problems(name) == []


@pytest.mark.parametrize(
    "name", ["", "x" * 101, "a\0b", "a\nb", "a\ud800", "evil\u202egnp.exe", "line\u2028break"], ids=shortened
)
def test_names_with_what_cannot_be_shown_are_refused(name):
    assert [problem.field for problem in full_name_problems(name)] == ["full_name"]


@pytest.mark.parametrize(
    "password",
    ["Abcdefg1", "aB3" + "x" * 125, "\u041f\u0430\u0440\u043e\u043b\u044c123", "correct Horse 7", "Ab1!@#$%^&*()"],
)
def test_passwords_that_the_app_takes_are_taken(password):
    assert password_problems(password, is_common=never_common) == []


@pytest.mark.parametrize(
    ("password", "codes"),
    [
        ("", ["length", "upper", "lower", "digit"]),
        ("Abcdef1", ["length"]),
        ("abcdefg1", ["upper"]),
        ("ABCDEFG1", ["lower"]),
        ("Abcdefgh", ["digit"]),
        ("Ab1" + "x" * 126, ["length"]),
        ("Ab1" + "x" * 10**6, ["length"]),
        ("Abcdefg1\0", ["characters"]),
        ("Abcdefg1\udfff", ["characters"]),
    ],
    ids=shortened,
)
def test_every_broken_rule_of_a_password_is_named(password, codes):
    problems = password_problems(password, is_common=never_common, field="new_password")
    assert [problem.code for problem in problems] == codes
    assert {problem.field for problem in problems} == {"new_password"}


def test_a_common_password_is_refused_though_it_follows_the_other_rules():
    (problem,) = password_problems("Password1", is_common=lambda text: text == "Password1")
    assert problem.code == "common"


def test_problems_are_raised_together_in_words_that_the_app_shows():
    problems = username_problems("x") + email_problems("y")
    with pytest.raises(ValidationError) as caught:
        raise_problems(problems)
    assert caught.value.problems == tuple(problems)
    assert all(problem.message in caught.value.public for problem in problems)
    assert not any(word in caught.value.public.lower() for word in ("validation", "duplicate", "could not create"))
    raise_problems([])


@pytest.mark.parametrize(
    "email", ["alice@example.com", "a@example.com", "o'neil+x@example.com", "x" * 64 + "@example.com"]
)
def test_every_proposed_username_is_allowed_and_the_last_is_nobodys(email):
    names = list(username_candidates(email, UserId("0123456789abcdef01234567")))
    assert len(names) == len(set(names)) == 10
    assert [username_problems(name) for name in names] == [[]] * 10
    assert names[-1].endswith("-01234567")


def test_a_rotated_session_has_a_new_newest_token():
    session = Session(SessionId("s"), UserId("u"), "old", NOW, NOW, NOW)
    later = NOW.replace(hour=1)
    rotated = session.rotated("new", later, later.replace(day=2))
    assert (rotated.token_hash, rotated.rotated_at, rotated.last_used_at) == ("new", later, later)
    assert rotated.created_at == NOW
