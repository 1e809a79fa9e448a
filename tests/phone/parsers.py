"""What the app's generated parsers accept. One wrong field fails the whole object, and a list with it.

Unknown fields are ignored. A date without a zone, which the app would read as its own local time, is refused here.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], None]
_DATETIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)")


class ParseError(AssertionError):
    """The app would throw here and show a canned text, or an empty list."""


def _fail(path: str, expected: str, value: Any) -> ParseError:
    return ParseError(f"{path}: expected {expected}, got {value!r}")


def text(value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise _fail(path, "a string", value)


def non_empty(value: Any, path: str) -> None:
    if not isinstance(value, str) or not value:
        raise _fail(path, "a non-empty string", value)


def number(value: Any, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _fail(path, "a number", value)


def boolean(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        raise _fail(path, "true or false", value)


def moment(value: Any, path: str) -> None:
    if not isinstance(value, str) or not _DATETIME.fullmatch(value):
        raise _fail(path, "an ISO 8601 date-time with a zone", value)


def free_map(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise _fail(path, "an object", value)


def text_map(value: Any, path: str) -> None:
    free_map(value, path)
    for key, item in value.items():
        text(item, f"{path}.{key}")


def token(value: Any, path: str) -> None:
    """A JWT with a numeric ``exp``; anything else counts as expired in the app."""
    text(value, path)
    parts = value.split(".")
    if len(parts) != 3:
        raise _fail(path, "a JWT", value)
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    number(claims.get("exp"), f"{path}.exp")


def one_of(*words: str) -> Check:
    def check(value: Any, path: str) -> None:
        if value not in words:
            raise _fail(path, f"one of {words}", value)

    return check


def list_of(check: Check) -> Check:
    def check_all(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise _fail(path, "a list", value)
        for position, item in enumerate(value):
            check(item, f"{path}[{position}]")

    return check_all


def nullable(check: Check) -> Check:
    """A field that may be absent or null."""

    def check_if_there(value: Any, path: str) -> None:
        if value is not None:
            check(value, path)

    return check_if_there


def object_of(fields: Mapping[str, Check]) -> Check:
    def check(value: Any, path: str) -> None:
        free_map(value, path)
        for name, field in fields.items():
            field(value.get(name), f"{path}.{name}")

    return check


USER = object_of(
    {
        "id": text,
        "username": non_empty,
        "email": text,
        "full_name": nullable(text),
        "is_active": boolean,
        "is_verified": boolean,
        "subscription_plan": text,
        "created_at": moment,
        "last_login": nullable(moment),
        "preferred_region": nullable(text),
        "avatar_url": nullable(text),
    }
)
TOKEN = object_of(
    {"access_token": token, "refresh_token": token, "token_type": text, "expires_in": number, "user": nullable(USER)}
)
ENVIRONMENT_STATUS = one_of("creating", "running", "stopped", "terminated", "error")
ENVIRONMENT = object_of(
    {
        "id": text,
        "name": text,
        "template_id": text,
        "status": ENVIRONMENT_STATUS,
        "resource_limits": object_of(
            {
                "cpu": nullable(text),
                "memory": nullable(text),
                "storage": nullable(text),
                "max_instances": nullable(number),
            }
        ),
        "environment_variables": text_map,
        "external_url": nullable(text),
        "web_port": nullable(number),
        "ssh_port": nullable(number),
        "created_at": moment,
        "updated_at": moment,
        "last_accessed": nullable(moment),
        "cpu_usage": nullable(number),
        "memory_usage": nullable(number),
        "storage_usage": nullable(number),
    }
)
_TEMPLATE_FIELDS: Mapping[str, Check] = {
    "id": text,
    "name": text,
    "display_name": text,
    "description": text,
    "category": one_of("programming_language", "framework", "database", "devops", "operating_system"),
    "tags": list_of(text),
    "docker_image": text,
    "default_port": nullable(number),
    "default_resources": text_map,
    "environment_variables": text_map,
    "startup_commands": list_of(text),
    "documentation_url": nullable(text),
    "icon_url": nullable(text),
    "status": one_of("active", "deprecated", "beta"),
    "version": text,
    "created_at": moment,
    "updated_at": moment,
    "usage_count": number,
}
TEMPLATE = object_of(_TEMPLATE_FIELDS)
TEMPLATE_DETAIL = object_of({**_TEMPLATE_FIELDS, "image": text, "config": nullable(free_map)})
METRICS = object_of(
    {
        "cpu_usage": nullable(number),
        "memory_usage": nullable(number),
        "disk_usage": nullable(number),
        "network_in": nullable(number),
        "network_out": nullable(number),
        "timestamp": nullable(moment),
    }
)
LOGS = object_of({"logs": list_of(text), "total": number, "has_more": boolean})
_AMOUNTS = object_of({"cpu": number, "memory": number, "storage": number})
CLUSTER = object_of(
    {
        "id": text,
        "name": text,
        "region": text,
        "health_status": text,
        "active": boolean,
        "max_environments": number,
        "current_environments": number,
        "available_resources": _AMOUNTS,
        "used_resources": _AMOUNTS,
        "created_at": moment,
        "updated_at": moment,
    }
)
CLUSTER_HEALTH = object_of({"status": text, "message": text, "last_checked": moment, "details": nullable(free_map)})
MESSAGE = object_of({"message": text})
ERROR = object_of(
    {
        "detail": non_empty,
        "code": nullable(text),
        "context": nullable(free_map),
        "errors": nullable(list_of(object_of({"field": text, "message": text, "code": nullable(text)}))),
        "timestamp": nullable(text),
        "path": nullable(text),
    }
)


def parse(check: Check, value: Any, path: str = "$") -> Any:
    """Return ``value`` when the app could read it; raises :class:`ParseError` naming the field otherwise."""
    check(value, path)
    return value
