"""What every schema of the wire shares: strict types, plain sentences, UTC times.

Unknown fields are ignored, because phones of tomorrow talk to servers of today. A string is never taken for a number
nor the other way round. Every rule is also written into the field's JSON Schema, so that the description at
``/api/v1/openapi.json`` promises exactly what is checked.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

from devpocket.errors import FieldProblem

REQUIRED = "This field is needed."
NULL = "This field may not be null."
NOT_AN_OBJECT = "Send a JSON object here."
_TYPES = {
    fields.String: "Send text here.",
    fields.Integer: "Send a whole number here.",
    fields.Float: "Send a number here.",
    fields.Boolean: "Send true or false here.",
    fields.List: "Send a list here.",
    fields.Mapping: NOT_AN_OBJECT,
    fields.Nested: NOT_AN_OBJECT,
}
CODES = {REQUIRED: "required", NULL: "null"} | dict.fromkeys(_TYPES.values(), "type")
"""The fixed code of a sentence; any other sentence has the code ``invalid``."""

NO_NUL = r"^[^\u0000]*$"
"""Text that C programs, files and databases can hold whole."""
NO_CONTROLS = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$"
"""Text of several lines: tabs and line ends, no other control characters."""
ONE_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
"""Text that is shown on one line; any script."""
NAME = r"^ *[^\u0000-\u0020\u007f-\u00a0\u2028\u2029](?:[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*)$"
"""As :data:`ONE_LINE`, with something to see in it."""

WEB_ADDRESS = r"^https?://[^\s\u0000-\u001f\u007f\"'<>`\\]+$"
"""An address that may stand in a page."""
_SENTENCES = {
    NAME: "Use text that can be seen, on one line.",
    WEB_ADDRESS: "Use a web address like https://example.org/page.",
}
"""What is said of a text that does not match; of other patterns that it has characters that cannot be used."""

JSON_SCHEMA = "json_schema"
"""Key of a field's metadata: what else its JSON Schema says."""

Loaded = dict[str, Any]


class WireSchema(Schema):
    """The base of all schemas: unknown fields ignored, other spellings of a field taken where it is absent or null."""

    class Meta:
        unknown = EXCLUDE

    error_messages = {"type": NOT_AN_OBJECT}  # noqa: RUF012 - marshmallow copies it
    ALIASES: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Field name to the other names under which older clients send it."""

    @pre_load
    def _take_aliases(self, data: Any, **_: Any) -> Any:
        if not self.ALIASES or not isinstance(data, Mapping):
            return data
        data = dict(data)
        for name, others in self.ALIASES.items():
            said = [data[each] for each in (name, *others) if data.get(each) is not None]
            if said:
                data[name] = said[0]
        return data

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Give every field the sentences above in place of marshmallow's own."""
        _speak_plainly(field_obj)
        super().on_bind_field(field_name, field_obj)


def _speak_plainly(field: fields.Field[Any]) -> None:
    field.error_messages["required"] = REQUIRED
    field.error_messages["null"] = NULL
    for kind, sentence in _TYPES.items():
        if isinstance(field, kind):
            field.error_messages["type" if kind is fields.Nested else "invalid"] = sentence
    if isinstance(field, fields.List):
        _speak_plainly(field.inner)
    if isinstance(field, fields.Mapping):
        for part in (field.key_field, field.value_field):
            if part is not None:
                _speak_plainly(part)


class Pattern(validate.Regexp):
    """The whole text must match; ``^`` and ``$`` are in the pattern for those who read it in JSON Schema.

    With ``passes_empty`` an empty text is left to the rule of its length, for one mistake to be told once.
    """

    def __init__(self, pattern: str, sentence: str, *, passes_empty: bool = False) -> None:
        super().__init__(pattern, error=sentence)
        self._whole = re.compile(pattern)
        self._passes_empty = passes_empty

    def __call__(self, value: str) -> str:  # type: ignore[override]
        """Return ``value``, or raise marshmallow's ValidationError with the sentence."""
        if self._whole.fullmatch(value) is None and (value or not self._passes_empty):
            raise ValidationError(self._format_error(value))
        return value


def length(low: int, high: int) -> validate.Length:
    """Return the rule that a text has ``low`` to ``high`` characters, or a list or map that many entries."""
    sentence = f"Use {low} to {high} characters here." if low else f"Use at most {high} characters here."
    return validate.Length(min=low or None, max=high, error=sentence)


def number_of(low: int, high: int) -> validate.Range:
    """Return the rule that a number is from ``low`` to ``high``."""
    return validate.Range(min=low, max=high, error=f"Use a number from {low} to {high} here.")


def by(rule: Callable[[str], list[FieldProblem]]) -> Callable[[str], None]:
    """Return a rule of the domain as a validator; every problem that it finds becomes a sentence."""

    def check(value: str) -> None:
        problems = rule(value)
        if problems:
            raise ValidationError([problem.message for problem in problems])

    return check


def text(
    *rules: Any, low: int = 0, high: int, pattern: str = NO_NUL, sentence: str | None = None, **options: Any
) -> fields.String:
    """Return a text field of ``low`` to ``high`` characters that match ``pattern``; ``sentence`` is said of others."""
    sentence = sentence or _SENTENCES.get(pattern, "This text has characters that cannot be used here.")
    matches = Pattern(pattern, sentence, passes_empty=low > 0)
    return fields.String(validate=[length(low, high), matches, *rules], **options)


def optional(**options: Any) -> dict[str, Any]:
    """Return the options of a request field that may be absent or null."""
    return {"allow_none": True, "load_default": None, **options}


def whole(low: int, high: int, **options: Any) -> fields.Integer:
    """Return a whole number from ``low`` to ``high``; ``5.0`` is one, ``"5"`` and ``true`` are not."""
    return StrictInteger(validate=number_of(low, high), **options)


class StrictInteger(fields.Integer):
    """A JSON number without a fraction."""

    def _validated(self, value: Any) -> int:
        whole_float = isinstance(value, float) and value.is_integer()
        if isinstance(value, bool) or not (isinstance(value, int) or whole_float):
            raise self.make_error("invalid", input=value)
        return int(value)


class QueryInteger(fields.Integer):
    """A whole number in a query, where everything is text."""

    def _validated(self, value: Any) -> int:
        if not (isinstance(value, str) and _DIGITS.fullmatch(value)):
            raise self.make_error("invalid", input=value)
        return int(value)


def query_number(low: int, high: int, default: int) -> QueryInteger:
    """Return an optional whole number of a query."""
    return QueryInteger(validate=number_of(low, high), load_default=default)


class QueryBoolean(fields.Boolean):
    """``true`` or ``false`` in a query, where everything is text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:
        if value not in ("true", "false"):
            raise self.make_error("invalid", input=value)
        return bool(value == "true")


class StrictBoolean(fields.Boolean):
    """JSON's ``true`` or ``false`` and nothing that looks like one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Instant(fields.DateTime):
    """A moment: aware, written in UTC with milliseconds and ``Z``; read with any offset, none meaning UTC."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso", **options)
        self.error_messages["invalid"] = "Send a time like 2026-01-31T12:00:00Z here."

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **options: Any) -> str | None:
        return None if value is None else wire_time(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> datetime:
        if not isinstance(value, str) or not _TIME.match(value):
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE)
        # A plus sign that was not escaped arrives as a space in a query.
        moment: datetime = super()._deserialize(value[:11] + value[11:].replace(" ", "+"), attr, data, **options)
        try:
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except OverflowError:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None


_DIGITS = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}", re.ASCII)


def wire_time(moment: datetime) -> str:
    """Return an aware ``moment`` as Dart's ``DateTime.parse`` and everybody else reads it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def given(**options: Any) -> dict[str, Any]:
    """Return the options of an answer's field that is always there and never null."""
    return {"required": True, "dump_only": True, **options}


def maybe(**options: Any) -> dict[str, Any]:
    """Return the options of an answer's field that is always there and may be null."""
    return {"required": True, "dump_only": True, "allow_none": True, **options}
