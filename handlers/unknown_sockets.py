"""WebSockets where there are none."""

from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.websocket import WebSocketHandler

from handlers.answers import AnsweringHandler
from handlers.requests import is_handshake
from handlers.sockets import REFUSED, SocketHandler


class UnknownSocketHandler(AnsweringHandler, WebSocketHandler):
    """An address under which there is no WebSocket: refused as all others are, after the handshake."""

    prepare = SocketHandler.prepare
    check_origin = SocketHandler.check_origin

    def open(self, *_path: str) -> None:
        """Close at once."""
        self.close(*REFUSED)

    def on_message(self, _message: str | bytes) -> None:
        """Whatever comes before the client has seen the close frame is of no interest."""


class _AnyHandshake(Matcher):
    """Matches whatever asks for a WebSocket, under every address that no route before it has."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return no arguments for the handler, or None for a plain request."""
        return {} if is_handshake(request) else None


RULE = Rule(_AnyHandshake(), UnknownSocketHandler, {"route": ""})
"""Comes after all routes."""
