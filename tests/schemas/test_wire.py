"""The parts that all schemas are made of."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest
from marshmallow import ValidationError, fields

from devpocket.schemas.wire import (
    NAME,
    NO_CONTROLS,
    ONE_LINE,
    Instant,
    StrictBoolean,
    StrictInteger,
    WireSchema,
    optional,
    query_number,
    text,
    whole,
    wire_time,
)


class Sample(WireSchema):
    """One field of each kind."""

    ALIASES: ClassVar = {"number": ("count", "amount")}

    number = whole(1, 10, **optional())
    word = text(low=1, high=5, **optional())
    flag = StrictBoolean(**optional())
    moment = Instant(**optional())
    inner = fields.Nested("Sample", **optional())


@pytest.mark.parametrize("value", [1, 10, 5.0, None])
def test_whole_numbers_and_null_are_taken(value: Any) -> None:
    assert Sample().load({"number": value})["number"] == value


@pytest.mark.parametrize("value", [0, 11, 5.5, "5", True, [], {}, 1e300, float("inf"), 10**400])
def test_nothing_else_is_a_whole_number(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Sample().load({"number": value})
    assert list(caught.value.messages_dict) == ["number"]


@pytest.mark.parametrize("value", ["true", 1, 0, "", []])
def test_only_booleans_are_booleans(value: Any) -> None:
    with pytest.raises(ValidationError, match="true or false"):
        Sample().load({"flag": value})


@pytest.mark.parametrize("value", ["", "sixsix", "a\x00b", 5, ["a"]])
def test_text_has_a_length_and_no_nul(value: Any) -> None:
    with pytest.raises(ValidationError):
        Sample().load({"word": value})


def test_unknown_fields_are_ignored_at_every_depth() -> None:
    assert Sample().load({"extra": 1, "inner": {"more": {"deep": 1}}})["inner"]["word"] is None


def test_other_spellings_are_taken_where_the_right_one_says_nothing() -> None:
    assert Sample().load({"count": 3})["number"] == 3
    assert Sample().load({"number": None, "amount": 4})["number"] == 4
    assert Sample().load({"number": 5, "count": 3})["number"] == 5


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T19:00:00+07:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T19:00:00 07:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.5Z", datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_moments_are_read_with_any_offset(said: str, meant: datetime) -> None:
    moment = Sample().load({"moment": said})["moment"]
    assert moment == meant
    assert moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "said", ["", "now", "2026", "2026-01-31", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:00", 1, "9" * 1000]
)
def test_what_is_no_moment_is_refused(said: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Sample().load({"moment": said})
    assert list(caught.value.messages_dict) == ["moment"]


def test_moments_are_written_as_dart_reads_them() -> None:
    elsewhere = datetime(2026, 1, 31, 19, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=7)))
    assert wire_time(elsewhere) == "2026-01-31T12:00:00.123Z"
    assert Sample().dump({"moment": elsewhere})["moment"] == "2026-01-31T12:00:00.123Z"


@pytest.mark.parametrize(("said", "number"), [("1", 1), ("007", 7), ("-0", 0)])
def test_numbers_of_a_query_are_text(said: str, number: int) -> None:
    assert query_number(0, 100, 50).deserialize(said) == number


@pytest.mark.parametrize("said", ["", " 1", "1_0", "\u0661", "1.0", "101", "-1", "9" * 50])
def test_other_text_is_no_number_of_a_query(said: str) -> None:
    with pytest.raises(ValidationError):
        query_number(0, 100, 50).deserialize(said)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (
            NAME,
            ["My Awesome Project", "Dự án của tôi", "проект 😀", " x"],
            ["", "   ", "a\nb", "a\x00", "\x7f", "\u2028"],
        ),
        (ONE_LINE, ["", "one line", "ñ"], ["two\nlines", "\x1b[31m", "\x85"]),
        (NO_CONTROLS, ["", "two\nlines\tand a tab\r\n"], ["\x00", "\x1b[31m", "\x0b"]),
    ],
)
def test_patterns(pattern: str, good: list[str], bad: list[str]) -> None:
    field = text(high=100, pattern=pattern)
    for value in good:
        assert field.deserialize(value) == value
    for value in bad:
        with pytest.raises(ValidationError):
            field.deserialize(value)


def test_a_newline_at_the_end_does_not_slip_through() -> None:
    with pytest.raises(ValidationError):
        text(high=100, pattern=r"^[a-z]+$").deserialize("abc\n")


def test_strict_integer_is_what_whole_makes() -> None:
    assert isinstance(whole(1, 2), StrictInteger)
