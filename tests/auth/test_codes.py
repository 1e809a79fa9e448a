"""Six digits and tokens by mail: hashed, bound to a user and a purpose, few tries, one use."""

import re
from dataclasses import asdict, replace
from datetime import timedelta

import pytest

from devpocket.auth.codes import (
    MAX_TRIES,
    CodePurpose,
    CodeVerdict,
    is_code,
    new_reset,
    new_verification,
    try_code,
    use_token,
)
from devpocket.auth.tokens import hash_token
from devpocket.ids import UserId
from tests.auth.clocks import START

KEYS = (b"k" * 32,)
USER = UserId("u" * 24)


@pytest.fixture
def issued():
    return new_verification(USER, START, KEYS)


def other_than(code):
    return f"{(int(code) + 1) % 10**6:06d}"


def test_codes_are_six_digits_and_links_are_not_guessable(issued):
    assert re.fullmatch("[0-9]{6}", issued.code)
    assert len(issued.token) == 43
    many = [new_verification(USER, START, KEYS) for _ in range(300)]
    assert len({each.token for each in many}) == 300
    assert len({each.code[0] for each in many}) == 10


def test_neither_secret_is_in_the_record_nor_shown(issued):
    stored = " ".join(map(str, asdict(issued.record).values()))
    assert issued.code not in (issued.record.code_hash, issued.record.token_hash)
    assert issued.token not in stored
    assert issued.token not in repr(issued)
    assert f"'{issued.code}'" not in repr(issued)
    assert issued.record.token_hash == hash_token(issued.token)


def test_the_right_digits_match_once(issued):
    record, verdict = try_code(issued.record, issued.code, START, KEYS)
    assert verdict is CodeVerdict.MATCH
    assert record.used_at == START
    assert try_code(record, issued.code, START, KEYS) == (record, CodeVerdict.USED)
    assert use_token(record, issued.token, CodePurpose.VERIFY_EMAIL, START) == (record, CodeVerdict.USED)


@pytest.mark.parametrize("pattern", ["  {}{} ", "{}{}\n", "{} {}", "{}\u00a0{}"])
def test_spaces_from_typing_and_pasting_do_not_matter(issued, pattern):
    typed = pattern.format(issued.code[:3], issued.code[3:])
    assert is_code(typed)
    assert try_code(issued.record, typed, START, KEYS)[1] is CodeVerdict.MATCH


def test_after_five_wrong_tries_the_right_one_is_refused_too(issued):
    record = issued.record
    for tries in range(1, MAX_TRIES + 1):
        record, verdict = try_code(record, other_than(issued.code), START, KEYS)
        assert (record.tries, verdict) == (tries, CodeVerdict.WRONG)
    assert try_code(record, issued.code, START, KEYS) == (record, CodeVerdict.EXHAUSTED)
    assert use_token(record, issued.token, CodePurpose.VERIFY_EMAIL, START)[1] is CodeVerdict.MATCH


def test_digits_and_link_are_good_for_24_hours(issued):
    almost, over = START + timedelta(hours=24, seconds=-1), START + timedelta(hours=24)
    assert try_code(issued.record, issued.code, almost, KEYS)[1] is CodeVerdict.MATCH
    assert try_code(issued.record, issued.code, over, KEYS) == (issued.record, CodeVerdict.EXPIRED)
    assert use_token(issued.record, issued.token, CodePurpose.VERIFY_EMAIL, over)[1] is CodeVerdict.EXPIRED


FULL_WIDTH = "\uff11\uff12\uff13\uff14\uff15\uff16"
NO_CODES = ["", " ", "12345", "1234567", "abcdef", FULL_WIDTH, "\0" * 6, "\ud800", "1" * 10**6]


@pytest.mark.parametrize("text", NO_CODES, ids=lambda text: ascii(text)[:20])
def test_what_is_no_code_is_a_wrong_try(issued, text):
    assert not is_code(text)
    assert try_code(issued.record, text, START, KEYS)[1] is CodeVerdict.WRONG


def test_digits_are_bound_to_user_purpose_and_mail(issued):
    for stolen in (
        replace(issued.record, user_id=UserId("x" * 24)),
        replace(issued.record, purpose=CodePurpose.RESET_PASSWORD),
        replace(issued.record, id="x" * 24),
    ):
        assert try_code(stolen, issued.code, START, KEYS)[1] is CodeVerdict.WRONG


def test_digits_survive_a_new_signing_key_as_long_as_the_old_is_listed(issued):
    assert try_code(issued.record, issued.code, START, (b"n" * 32, *KEYS))[1] is CodeVerdict.MATCH
    assert try_code(issued.record, issued.code, START, (b"n" * 32,))[1] is CodeVerdict.WRONG


def test_a_reset_token_is_good_for_an_hour_and_one_use():
    issued = new_reset(USER, START)
    almost, over = START + timedelta(minutes=59), START + timedelta(hours=1)
    assert use_token(issued.record, issued.token, CodePurpose.RESET_PASSWORD, over)[1] is CodeVerdict.EXPIRED
    used, verdict = use_token(issued.record, issued.token, CodePurpose.RESET_PASSWORD, almost)
    assert (verdict, used.used_at) == (CodeVerdict.MATCH, almost)
    assert use_token(used, issued.token, CodePurpose.RESET_PASSWORD, almost)[1] is CodeVerdict.USED


def test_a_token_for_one_purpose_does_not_serve_another(issued):
    reset = new_reset(USER, START)
    assert use_token(issued.record, issued.token, CodePurpose.RESET_PASSWORD, START)[1] is CodeVerdict.WRONG
    assert use_token(reset.record, reset.token, CodePurpose.VERIFY_EMAIL, START)[1] is CodeVerdict.WRONG
    assert use_token(reset.record, issued.token, CodePurpose.RESET_PASSWORD, START)[1] is CodeVerdict.WRONG
    assert try_code(reset.record, "", START, KEYS)[1] is CodeVerdict.WRONG


def test_another_mail_may_follow_after_a_minute(issued):
    assert not issued.record.may_be_followed(START + timedelta(seconds=59))
    assert issued.record.may_be_followed(START + timedelta(seconds=60))
