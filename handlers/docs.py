"""The description of the API: as JSON for programs, as one page without scripts for people."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from handlers.base import BaseHandler
from handlers.operations import PUBLIC, operation
from handlers.paths import Route

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #ccc}summary{cursor:pointer;padding:.3rem 0}
code,pre{font:14px/1.4 ui-monospace,monospace}.verb{display:inline-block;width:4.5rem;font-weight:700}
table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left;vertical-align:top}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"
OPENAPI_PATH = "/api/v1/openapi.json"


class OpenApiHandler(BaseHandler):
    """The OpenAPI description."""

    @operation("Describe the API", allow=PUBLIC, counts="other")
    async def get(self) -> None:
        """Answer with the description that belongs to this version."""
        self.write_json(self.settings["openapi"])


class DocsHandler(BaseHandler):
    """The page for people."""

    @operation("Show the API as a page", allow=PUBLIC, content_type="text/html", counts="other")
    async def get(self) -> None:
        """Answer with a page that loads nothing from anywhere."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", PAGE_POLICY)
        await self.finish(render(self.settings["openapi"]))


class OtherDocsHandler(BaseHandler):
    """Where other servers have that page."""

    @operation("Lead to the page of the API", allow=PUBLIC, status=302, content_type="text/html", counts="other")
    async def get(self) -> None:
        """Answer with a redirection."""
        self.redirect("/docs")


def render(spec: Mapping[str, Any]) -> str:
    """Return the description as HTML."""
    return "".join(_page(spec))


def _page(spec: Mapping[str, Any]) -> Iterator[str]:
    title = escape(f"{spec['info']['title']} {spec['info']['version']}")
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    yield f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
    yield f"<h1>{title}</h1><p>{escape(spec['info']['description'])}</p>"
    yield f"<p>For programs: <a href={OPENAPI_PATH}><code>{OPENAPI_PATH}</code></a></p>"
    tag = ""
    for path, item in spec["paths"].items():
        for verb, entry in item.items():
            if verb == "parameters":
                continue
            if entry["tags"][0] != tag:
                tag = entry["tags"][0]
                yield f"<h2>{escape(tag)}</h2>"
            yield from _operation(path, verb, entry)
    yield "<h2>Objects</h2>"
    for name, schema in spec["components"]["schemas"].items():
        yield from _object(name, schema)


def _operation(path: str, verb: str, entry: Mapping[str, Any]) -> Iterator[str]:
    yield f"<details><summary><span class=verb>{verb.upper()}</span> <code>{escape(path)}</code> "
    yield f"{escape(entry['summary'])}</summary><p>{escape(entry.get('description', 'Open to everybody.'))}</p>"
    for parameter in entry.get("parameters", []):
        yield f"<p>Query <code>{escape(parameter['name'])}</code>: {_type(parameter['schema'])}</p>"
    for content in entry.get("requestBody", {}).get("content", {}).values():
        yield f"<p>Takes {_type(content['schema'])}</p>"
    yield "<table><tr><th>Status<th>Body"
    for status, response in entry["responses"].items():
        bodies = [_type(content.get("schema", {})) for content in response.get("content", {}).values()]
        yield f"<tr><td>{status} {escape(response['description'])}<td>{''.join(bodies)}"
    yield "</table></details>"


def _object(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"<details id={escape(name)}><summary><code>{escape(name)}</code></summary><table><tr><th>Field<th>Type"
    required = schema.get("required", [])
    for field, inner in schema.get("properties", {}).items():
        yield f"<tr><td><code>{escape(field)}</code>{'' if field in required else ' (optional)'}<td>{_type(inner)}"
    yield "</table></details>"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href=#{name}>{name}</a>"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    inner = [_type(each) for key in ("allOf", "anyOf", "oneOf") for each in schema.get(key, [])]
    kinds = schema.get("type", [])
    words = [*inner, *([kinds] if isinstance(kinds, str) else kinds)]
    choices = f": {escape(', '.join(map(str, schema['enum'])))}" if "enum" in schema else ""
    return " or ".join(words) + choices


ROUTES = (
    Route(OPENAPI_PATH, OpenApiHandler),
    Route("/docs", DocsHandler),
    Route("/redoc", OtherDocsHandler),
    Route("/api-docs", OtherDocsHandler),
    Route("/api/v1/docs", OtherDocsHandler),
)
