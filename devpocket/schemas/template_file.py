"""What a template file may say: names, types and ranges of its keys."""

from enum import StrEnum
from typing import Any

from marshmallow import Schema, fields, post_load, validate

from devpocket.domain.environments import ResourceLimits
from devpocket.domain.templates import TemplateCategory, TemplateDefinition, TemplateStatus
from devpocket.schemas.environments import CPU, RESERVED, SIZE

UNKNOWN_KEY = "unknown key"
_MESSAGES: dict[str, str | list[Any] | dict[Any, Any]] = {
    "required": "is missing",
    "null": "must not be empty",
    "type": "must be a mapping",
    "unknown": UNKNOWN_KEY,
}


def _matches(pattern: str, sentence: str) -> validate.Regexp:
    return validate.Regexp(rf"(?:{pattern})\Z", error=sentence)


def _length(low: int, high: int) -> validate.Length:
    return validate.Length(min=low, max=high, error="must have {min} to {max} characters")


def _text(*validators: Any, **options: Any) -> fields.String:
    messages = {**_MESSAGES, "invalid": "must be text; put it in quotes"}
    return fields.String(validate=list(validators), error_messages=messages, **options)


def _choice(kind: type[StrEnum], **options: Any) -> fields.Enum[Any]:
    messages = {**_MESSAGES, "unknown": "must be one of: {choices}"}
    return fields.Enum(kind, by_value=True, error_messages=messages, **options)


def _list(item: fields.String, most: int) -> fields.List[Any]:
    length = validate.Length(max=most, error="must have at most {max} items")
    return fields.List(item, validate=length, error_messages={**_MESSAGES, "invalid": "must be a list"})


_NO_NUL = _matches(r"[^\0]*", "must not hold a NUL character")
_SLUG = _matches(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", "must be of a-z, 0-9, dots and hyphens, like nodejs-18")
_WEB_ADDRESS = validate.URL(schemes={"http", "https"}, error="must be an http or https address")


class _Strict(Schema):
    error_messages = {"type": "must be a mapping", "unknown": UNKNOWN_KEY}  # noqa: RUF012 - marshmallow copies it


class DefaultResourcesSchema(_Strict):
    """Amounts in Kubernetes' notation."""

    cpu = _text(_matches(CPU, 'must be like "500m" or "2"'), required=True)
    memory = _text(_matches(SIZE, 'must be like "1Gi" or "512Mi"'), required=True)
    storage = _text(_matches(SIZE, 'must be like "10Gi"'), required=True)

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> ResourceLimits:
        return ResourceLimits(**data)


class TemplateFileSchema(_Strict):
    """One template file; loading gives a :class:`~devpocket.domain.templates.TemplateDefinition`.

    Raises ``marshmallow.ValidationError`` with messages for every wrong key; an unknown key is wrong.
    """

    name = _text(_length(1, 50), _SLUG, required=True)
    display_name = _text(_length(1, 100), required=True)
    description = _text(_length(1, 500), required=True)
    category = _choice(TemplateCategory, required=True)
    status = _choice(TemplateStatus)
    tags = _list(_text(_length(1, 40)), 20)
    docker_image = _text(_length(1, 255), _matches(r"[a-z0-9][\w./:@-]*", "must name an image"), required=True)
    version = _text(_length(1, 50))
    default_port = fields.Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(1, 65_535, error="must be {min} to {max}"),
        error_messages={**_MESSAGES, "invalid": "must be a whole number"},
    )
    default_resources = fields.Nested(DefaultResourcesSchema, required=True, error_messages=_MESSAGES)
    environment_variables = fields.Dict(
        keys=_text(
            _matches("[A-Za-z_][A-Za-z0-9_]{0,127}", "must be the name of a variable, like LANG"),
            _matches(rf"(?!(?:{'|'.join(RESERVED)})\Z|DEVPOCKET_).*", "is set by the server"),
        ),
        values=_text(_length(0, 8192), _NO_NUL),
        error_messages={**_MESSAGES, "invalid": "must be a mapping"},
    )
    startup_commands = _list(_text(_length(1, 16_384), _NO_NUL), 100)
    documentation_url = _text(_WEB_ADDRESS, allow_none=True)
    icon_url = _text(_WEB_ADDRESS, allow_none=True)

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> TemplateDefinition:
        for key in ("tags", "startup_commands"):
            if key in data:
                data[key] = tuple(data[key])
        return TemplateDefinition(**data)
