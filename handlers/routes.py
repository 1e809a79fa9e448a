"""All routes, and the Tornado application made of them."""

from typing import Any

from tornado.web import Application

from actors.backend import Backend
from devpocket.errors import NotFoundError
from handlers import (
    auth,
    clusters,
    docs,
    environments,
    health,
    logs,
    mail_pages,
    prometheus,
    templates,
    terminal,
    unknown_sockets,
    users,
)
from handlers.access_log import log_request
from handlers.base import BaseHandler
from handlers.health import VERSION
from handlers.openapi import describe
from handlers.paths import Route
from handlers.refusals import refusal
from handlers.socket_registry import SocketRegistry
from handlers.sockets import MAX_MESSAGE_BYTES

ROUTES: tuple[Route, ...] = (
    *health.ROUTES,
    *auth.ROUTES,
    *users.ROUTES,
    *environments.ROUTES,
    *templates.ROUTES,
    *clusters.ROUTES,
    *docs.ROUTES,
    *prometheus.ROUTES,
)
PAGE_ROUTES: tuple[Route, ...] = mail_pages.ROUTES
"""For people with browsers: not part of the API and its description."""
SOCKET_ROUTES: tuple[Route, ...] = (
    *terminal.ROUTES,
    *logs.ROUTES,
)


class UnknownAddressHandler(BaseHandler):
    """Whatever no route matches."""

    async def _refuse(self, *_path: str) -> None:
        self.begin_refusal()
        error = NotFoundError("There is nothing at this address.")
        raise refusal(error) from error

    get = post = put = patch = delete = head = _refuse


def make_application(backend: Backend, registry: SocketRegistry) -> Application:
    """Return the application; ``registry`` is what the composition root closes all WebSockets with."""
    settings: dict[str, Any] = {
        "backend": backend,
        "sockets": registry,
        "openapi": describe(ROUTES, VERSION),
        "log_function": log_request,
        "compress_response": True,
        "default_handler_class": UnknownAddressHandler,
        "default_handler_args": {"route": ""},
        "websocket_max_message_size": MAX_MESSAGE_BYTES,
        "debug": False,
    }
    routes = (*ROUTES, *PAGE_ROUTES, *SOCKET_ROUTES)
    backend.metrics.prepare(routes=[route.path for route in routes])
    return Application([*(route.url_spec() for route in routes), unknown_sockets.RULE], **settings)


def server_options(backend: Backend) -> dict[str, Any]:
    """Return the keyword arguments of ``HTTPServer`` that go with this application.

    Headers, and again a body, have to arrive within ``HEADER_TIMEOUT``, and an idle connection is kept as long. The
    answers 408, 413 and 431 are the handlers' own, so Tornado's limits are wider than theirs.
    """
    timeout_s = backend.settings.http.header_timeout_s
    return {
        "xheaders": False,
        "idle_connection_timeout": timeout_s,
        "body_timeout": timeout_s + 5.0,
        "max_header_size": 128 * 1024,
        "max_body_size": backend.settings.http.max_body_bytes,
        "max_buffer_size": backend.settings.http.max_body_bytes + MAX_MESSAGE_BYTES,
        "chunk_size": 64 * 1024,
    }
