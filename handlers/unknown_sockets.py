"""WebSockets where there are none."""

from tornado.websocket import WebSocketHandler

from handlers.answers import AnsweringHandler
from handlers.paths import Route
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


ROUTES = (
    Route("/api/v1/ws", UnknownSocketHandler),
    Route("/api/v1/ws/{anything}", UnknownSocketHandler),
    Route("/api/v1/ws/{anything}/{more}", UnknownSocketHandler),
)
