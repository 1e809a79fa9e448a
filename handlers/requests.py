"""Reading requests: JSON bodies and queries through their schemas, problems as one error of the tree."""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import orjson
from marshmallow import EXCLUDE, Schema
from marshmallow import ValidationError as SchemaError
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError
from webargs.tornadoparser import TornadoParser

from devpocket.errors import FieldProblem, MalformedRequestError, ValidationError
from devpocket.schemas.wire import CODES

MAX_HEADER_BYTES = 32 * 1024
MAX_PROBLEMS = 50
_MAX_PATH_CHARS = 100
_PARTS = ("_schema", "key", "value")
"""What marshmallow puts into a path without there being such a field."""


def load_body(schema: Schema, request: HTTPServerRequest) -> Any:
    """Return what ``schema`` makes of the body, whatever its ``Content-Type``; no body is an empty object.

    Raises MalformedRequestError for what is not JSON (RFC 8259: UTF-8, no lone surrogates, depth and size bounded by
    the parser), ValidationError naming every wrong field.
    """
    return _PARSER.parse(schema, request, location="json")


def load_query(schema: Schema, request: HTTPServerRequest) -> Any:
    """Return what ``schema`` makes of the query; the first value counts where one is given twice."""
    return _PARSER.parse(schema, request, location="query")


def load_form(schema: Schema, request: HTTPServerRequest) -> Any:
    """Return what ``schema`` makes of a form sent by a page (``application/x-www-form-urlencoded``)."""
    return _PARSER.parse(schema, request, location="form")


class _Parser(TornadoParser):
    DEFAULT_UNKNOWN_BY_LOCATION = dict.fromkeys(("json", "query", "form"), EXCLUDE)

    def _raw_load_json(self, req: HTTPServerRequest) -> Any:
        if not req.body.strip():
            return {}
        try:
            return orjson.loads(req.body)
        except orjson.JSONDecodeError as error:
            raise MalformedRequestError("The body of this request is not JSON.", detail=str(error)) from error

    def load_querystring(self, req: HTTPServerRequest, schema: Schema) -> Any:
        try:
            return {name: values[0].decode() for name, values in req.query_arguments.items()}
        except UnicodeDecodeError as error:
            raise MalformedRequestError("The query of this address is not UTF-8.", detail=str(error)) from error

    def load_form(self, req: HTTPServerRequest, schema: Schema) -> Any:
        try:
            pairs = parse_qsl(req.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PROBLEMS)
        except ValueError as error:
            raise MalformedRequestError("The body of this request is not a form.", detail=str(error)) from error
        return dict(pairs)

    def handle_error(self, error: SchemaError, *_: Any, **__: Any) -> NoReturn:
        messages = next(iter(error.messages_dict.values()))
        problems = [
            FieldProblem(".".join(path)[:_MAX_PATH_CHARS] or "body", sentence, CODES.get(sentence, "invalid"))
            for path, sentence in _leaves(messages, ())
        ]
        named = [f"{problem.field.partition('.')[0]}: {problem.message}" for problem in problems]
        raise ValidationError(" ".join(dict.fromkeys(named[:3])), problems[:MAX_PROBLEMS])


_PARSER = _Parser()


def _leaves(messages: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every sentence with the path of its field."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            yield from _leaves(inner, path if name in _PARTS else (*path, str(name)))
    elif isinstance(messages, list):
        for each in messages:
            yield from _leaves(each, path)
    else:
        yield path, str(messages)


def bearer_token(header: str | None) -> str | None:
    """Return the token of an ``Authorization`` header (RFC 6750, 2.1), or None when there is none."""
    scheme, _, token = (header or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def is_handshake(request: HTTPServerRequest) -> bool:
    """Tell whether a request asks for a WebSocket, with all that belongs to it (RFC 6455, 4.2.1)."""
    headers = request.headers
    options = {option.strip().lower() for option in headers.get("Connection", "").split(",")}
    asks = "upgrade" in options and headers.get("Upgrade", "").lower() == "websocket"
    return asks and headers.get("Sec-WebSocket-Version") == "13" and "Sec-WebSocket-Key" in headers


def content_length(request: HTTPServerRequest) -> int:
    """Return the announced length of the body in bytes; 0 where none is, or one that Tornado will refuse."""
    text = request.headers.get("Content-Length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def header_bytes(request: HTTPServerRequest) -> int:
    """Return how many bytes the headers took, the line ends included."""
    return sum(len(name) + len(value) + 4 for name, value in request.headers.get_all())


def check_headers(request: HTTPServerRequest) -> None:
    """Answer with 431 unless the headers are of a reasonable size."""
    if header_bytes(request) > MAX_HEADER_BYTES:
        raise HTTPError(431)
