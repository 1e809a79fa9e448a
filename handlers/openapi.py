"""The OpenAPI 3.1 description, made from the route table, the operations and their schemas."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema
from marshmallow.fields import Field

from devpocket.schemas.service import ErrorAnswer, RateLimitedAnswer
from devpocket.schemas.wire import JSON_SCHEMA
from handlers.operations import Operation, operation_of
from handlers.paths import Route

_ABOUT = (
    "Real Linux environments behind REST and WebSocket. Every refusal has the same body. Unknown fields of a request "
    "are ignored. Paths work with and without a slash at the end. The WebSockets are described in docs/websocket.md."
)
_IMPLIED_BY_PERMISSION = (401, 403, 429)
_IMPLIED_BY_BODY = (400, 413, 422)
_ALWAYS = (408, 431, 500, 503)
_RESOURCES = ("auth", "users", "environments", "templates", "clusters")
_VERBS = ("get", "post", "put", "patch", "delete")


def describe(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """Return the description of all ``routes`` as JSON values."""
    plugin = MarshmallowPlugin(schema_name_resolver=_schema_name)
    spec = APISpec(
        title="DevPocket Server",
        version=version,
        openapi_version="3.1.0",
        info={"description": _ABOUT},
        plugins=[plugin],
    )
    assert plugin.converter is not None  # noqa: S101 - APISpec has made it
    plugin.converter.add_attribute_function(_written_out)  # type: ignore[no-untyped-call]
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    for route in routes:
        operations = dict(_operations(route))
        if operations:
            spec.path(path=route.path, operations=operations, parameters=_path_parameters(route))
    description: dict[str, Any] = _without_noise(spec.to_dict())
    return description


def operations_of(route: Route) -> Iterator[tuple[str, Operation]]:
    """Yield each method of ``route`` with what its verb says of itself."""
    for verb in _VERBS:
        described = operation_of(getattr(route.handler, verb, None))
        if described is not None:
            yield verb, described


def _operations(route: Route) -> Iterator[tuple[str, dict[str, Any]]]:
    for verb, described in operations_of(route):
        entry: dict[str, Any] = {
            "summary": described.summary,
            "operationId": f"{verb}{_camel(route.path)}",
            "tags": [_tag(route.path)],
            "security": [] if described.permission is None else [{"bearer": []}],
            "responses": dict(_responses(described, has_path=bool(route.parameters))),
        }
        if described.permission is not None:
            entry["description"] = f"Needs the permission `{described.permission}`."
        if described.query is not None:
            entry["parameters"] = [{"in": "query", "schema": described.query}]
        if described.body is not None:
            # No body is an empty object, which is enough where no field is needed.
            needed = any(field.required for field in described.body.fields.values())
            entry["requestBody"] = {"required": needed, "content": {"application/json": {"schema": described.body}}}
        yield verb, entry


def _responses(described: Operation, *, has_path: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    success: dict[str, Any] = {"description": HTTPStatus(described.status).phrase}
    if described.answer is not None:
        success["content"] = {described.content_type: {"schema": described.answer}}
    elif described.status != HTTPStatus.NO_CONTENT:
        success["content"] = {described.content_type: {}}
    yield str(described.status), success
    for status in sorted(_refusals(described, has_path=has_path)):
        schema = RateLimitedAnswer if status == HTTPStatus.TOO_MANY_REQUESTS else ErrorAnswer
        content = {"application/json": {"schema": schema}}
        yield str(status), {"description": HTTPStatus(status).phrase, "content": content}


def _refusals(described: Operation, *, has_path: bool) -> set[int]:
    statuses = {*described.refuses, *_ALWAYS}
    if described.permission is not None:
        statuses.update(_IMPLIED_BY_PERMISSION)
    if described.counts is not None:
        statuses.add(429)
    if described.body is not None:
        statuses.update(_IMPLIED_BY_BODY)
    if described.query is not None:
        statuses.update((400, 422))
    if has_path:
        statuses.update((400, 404))
    return statuses - {described.status}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"in": "path", "name": name, "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in route.parameters
    ]


def _written_out(_converter: Any, field: Field[Any], **_: Any) -> dict[str, Any]:
    """Return what a field's metadata says of its JSON Schema and apispec would leave out."""
    written: dict[str, Any] = field.metadata.get(JSON_SCHEMA, {})
    return written


def _without_noise(value: Any) -> Any:
    """Return ``value`` without defaults that mean "nothing was said", and without what the direction says anyway."""
    if isinstance(value, dict):
        return {
            name: _without_noise(inner)
            for name, inner in value.items()
            if not (name == "default" and inner is None) and name != "readOnly"
        }
    return [_without_noise(each) for each in value] if isinstance(value, list) else value


def _schema_name(schema: Any) -> str:
    kind = schema if isinstance(schema, type) else type(schema)
    return kind.__name__ if issubclass(kind, Schema) else str(kind)


def _camel(path: str) -> str:
    words = path.replace("{", "by-").replace("}", "").replace("_", "-")
    return (
        "".join(word.capitalize() for part in words.split("/") for word in part.replace(".", "-").split("-")) or "Root"
    )


def _tag(path: str) -> str:
    parts = [part for part in path.removeprefix("/api/v1").split("/") if part]
    return parts[0] if parts and parts[0] in _RESOURCES else "service"
