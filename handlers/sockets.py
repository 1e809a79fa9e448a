"""What all WebSockets share: admission after the handshake, counting, keep-alive, refusal, closing, flow control.

A socket lives in one task, from admission to the moment when everything it held is given back. The task ends when the
client is gone, and closing the socket ends the task; there is no third way.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any

import orjson
import structlog
from tornado.iostream import IOStream
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from actors.directory import Directory
from actors.loop import Message
from actors.messages import (
    Caller,
    CloseSocket,
    OpenSocket,
    SocketKind,
    TakeRequest,
    UnwatchEnvironment,
    WatchEnvironment,
)
from actors.origin import Origin
from devpocket.auth.permissions import Permission, check_allowed, permission
from devpocket.domain.environments import Environment
from devpocket.domain.events import EnvironmentEvent, EventKind
from devpocket.errors import (
    DevPocketError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)
from devpocket.ids import EnvironmentId, is_id, new_id
from devpocket.metrics import LimitKind
from devpocket.schemas.wire import wire_time
from handlers.announcements import status_update
from handlers.answers import AnsweringHandler, origin_of
from handlers.event_queue import EventQueue
from handlers.liveness import Liveness
from handlers.refusals import refusal
from handlers.requests import bearer_token, check_headers, is_handshake
from handlers.socket_options import prefer_fresh_output
from handlers.socket_registry import SocketRegistry

__all__ = ["MAX_MESSAGE_BYTES", "SocketHandler", "SocketRegistry"]

log = structlog.get_logger("devpocket.sockets")

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""A paste of 1 MB, every character of which JSON may write with six."""
ADMISSION_DEADLINE_S = 10.0
MAX_BAD_MESSAGES = 100
"""So many messages in a row that nobody can read are abuse."""
REFUSED = (1008, "Authentication failed")
"""Whatever the reason is: it is nobody's business which environments exist."""
NORMAL, GOING_AWAY, ABUSE, BROKEN, TRY_AGAIN = 1000, 1001, 1008, 1011, 1013
"""RFC 6455, 7.4.1, and the IANA registry of close codes."""


class SocketHandler(AnsweringHandler, WebSocketHandler):
    """The base of the WebSockets of an environment; a subclass says what to do once somebody is admitted."""

    kind: SocketKind
    allow: Permission = permission("terminals:attach")
    caller: Caller
    environment: Environment

    def initialize(self, route: str) -> None:
        """Begin with nothing held."""
        super().initialize(route)
        self.socket_id = new_id()
        self.events = EventQueue()
        self.gone = asyncio.Event()
        self._admitted = asyncio.Event()
        self._liveness = Liveness(self.backend.settings.limits.socket_idle_timeout_s)
        self._bad_messages = 0
        self._latest: dict[str, Any] = {}
        self._life: asyncio.Task[None] | None = None
        self._stream: IOStream | None = None

    # --- the handshake -----------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Answer what is no handshake like every other mistake; identification waits until the handshake is over."""
        check_headers(self.request)
        if not is_handshake(self.request):
            raise HTTPError(426)

    def check_origin(self, origin: str) -> bool:
        """Let in pages of the allowed origins; Tornado has let in those of the server's own before it asks."""
        if origin in self.backend.settings.http.allowed_origins:
            return True
        error = PermissionDeniedError("Pages of this origin may not connect here.", code="origin_refused")
        raise refusal(error) from error

    def get_compression_options(self) -> dict[str, Any] | None:
        """Compress for whoever asks: it saves three quarters of a typist's traffic, in 2 to 9 us a frame at level 1."""
        return {"compression_level": 1, "mem_level": 5}

    def open(self, *path: str) -> None:
        """Start the socket's life; messages wait until its owner is admitted."""
        assert self.ws_connection is not None  # noqa: S101 - Tornado calls this when there is one
        stream = self.ws_connection.stream
        assert stream is not None  # noqa: S101 - the handshake is over
        if stream.closed():
            return  # the client has not waited for its end; Tornado notices, too
        stream.set_close_callback(self._disconnected)
        prefer_fresh_output(stream.socket, self.backend.settings.limits.socket_idle_timeout_s)
        self.set_nodelay(True)
        self._stream = stream
        self.backend.metrics.socket_opened(self.kind)
        self._life = asyncio.create_task(self._live(*path), name=f"{self.kind} socket {self.socket_id}")
        # Not a ``finally`` in the task: one that is cancelled before its first step never gets there.
        self._life.add_done_callback(lambda _: self._leave(*path))
        self.sockets.add(self)

    @property
    def sockets(self) -> SocketRegistry:
        """All sockets of this process."""
        sockets: SocketRegistry = self.settings["sockets"]
        return sockets

    # --- a life ------------------------------------------------------------------------------------------------------

    async def _live(self, environment_id: str = "") -> None:
        try:
            async with asyncio.timeout(ADMISSION_DEADLINE_S):
                await self._admit(environment_id)
            self._admitted.set()
            await self._serve()
        except WebSocketClosedError:
            self._vanish()
        except (UnavailableError, RateLimitedError, TimeoutError) as error:
            log.warning("socket given up", socket=self.socket_id, reason=str(error))
            self.close(TRY_AGAIN, "Try again later")
        except DevPocketError as error:
            log.info("socket refused", socket=self.socket_id, error_code=error.code)
            self.close(*REFUSED)
        except Exception:
            log.exception("socket failed", socket=self.socket_id)
            self.close(BROKEN, "Internal error")

    async def _serve(self) -> None:
        try:
            await self.serve()
        except NotFoundError:
            self.close(NORMAL, "The environment is gone")
        except DevPocketError as error:
            raise UnavailableError(error.public, detail=error.detail) from error

    async def _admit(self, environment_id: str) -> None:
        backend = self.backend
        origin = origin_of(self.request, backend)
        (in_query,) = self.request.query_arguments.get("token", [b""])[-1:]
        token = in_query.decode("latin-1") or bearer_token(self.request.headers.get("Authorization"))
        self.caller = await self._identified(token, origin)
        user_id = self.caller.user.id
        check_allowed(self.caller.user.role, self.allow)
        if not is_id(environment_id):
            raise NotFoundError("There is no such environment.")
        watch = WatchEnvironment(user_id, self.socket_id, self._hear)
        self.environment = await backend.environments.ask(EnvironmentId(environment_id), watch)
        opening = OpenSocket(self.socket_id, self.caller.session_id, self.close, self.gone.is_set)
        try:
            await backend.users.ask(user_id, opening)
        except PermissionDeniedError:
            backend.metrics.limit_refused(LimitKind.SOCKETS)
            raise

    async def _identified(self, token: str | None, origin: Origin) -> Caller:
        """Return who asks, counted as a request of theirs; whoever cannot say it is counted by address."""
        try:
            caller = await self.backend.accounts.authenticate(access_token=token, origin=origin)
            verdict, refused = await self.backend.users.ask(caller.user.id, TakeRequest()), None
        except UnauthenticatedError as error:
            verdict, refused = await self.backend.take_anonymous("other", origin.address), error
        if not verdict.allowed:
            raise RateLimitedError("Too many requests. Wait a little.") from refused
        if refused is not None:
            raise refused
        return caller

    def _hear(self, event: EnvironmentEvent) -> None:
        """Keep what is announced until it can be sent."""
        if self.gone.is_set():  # the actor was overrun when it was to be told
            self._tell(self.backend.environments, event.environment_id, UnwatchEnvironment(self.socket_id))
            return
        if event.kind is EventKind.STATUS:
            self._latest = {name: event.data[name] for name in ("status", "phase") if name in event.data}
        self.events.put(event)

    def _leave(self, environment_id: str = "") -> None:
        """Give back what is held. Every message of these is harmless where nothing is."""
        self._vanish()
        self.backend.metrics.socket_closed(self.kind)
        self.sockets.discard(self)
        if is_id(environment_id):
            self._tell(self.backend.environments, environment_id, UnwatchEnvironment(self.socket_id))

    def _count_out(self) -> None:
        """Make room for the next socket at once, however long it takes to detach this one's terminal."""
        if hasattr(self, "caller"):
            self._tell(self.backend.users, self.caller.user.id, CloseSocket(self.socket_id))

    def _tell(self, directory: Directory[Any], key: str, message: Message[None]) -> None:
        try:
            directory.tell(key, message)
        except DevPocketError as error:
            if not self.sockets.is_closing:  # overrun: the actor looks by itself, and a terminal goes on
                log.info("not told", socket=self.socket_id, message=type(message).__name__, error_code=error.code)

    async def serve(self) -> None:
        """Talk to an admitted client until there is nothing more to say; cancelled when it is gone."""
        raise NotImplementedError

    async def receive(self, message: str) -> None:
        """Take one text message; raise ValueError with a sentence for one that cannot be read."""
        raise NotImplementedError

    async def run_together(self, *parts: Coroutine[Any, Any, None]) -> None:
        """Run ``parts`` and the keep-alive until the first of them ends, and raise what ended it."""
        tasks = [asyncio.create_task(part) for part in (*parts, self._keep_alive())]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in ended:
            task.result()

    async def _keep_alive(self) -> None:
        """Ping at intervals; close when the client is lost."""
        limits = self.backend.settings.limits
        while not self._liveness.is_lost:
            self.ping(b"")
            await asyncio.sleep(min(limits.socket_ping_interval_s, limits.socket_idle_timeout_s / 2))
        self.close(GOING_AWAY, "No answer")

    # --- what Tornado calls ------------------------------------------------------------------------------------------

    async def on_message(self, message: str | bytes) -> None:
        """Hand a message on; the next one is read when this is done, which is what slows a fast sender down."""
        with self._liveness.held_back():
            await self._admitted.wait()
            if self.gone.is_set():
                return
            try:
                await self._receive(message)
            except WebSocketClosedError:
                self._vanish()

    async def _receive(self, message: str | bytes) -> None:
        try:
            if isinstance(message, bytes):
                raise ValueError("Send text frames.")  # noqa: TRY301, TRY004 - the sentence goes to the client
            await self.receive(message)
            self._bad_messages = 0
        except ValueError as error:
            self._bad_messages += 1
            await self.send({"type": "error", "message": str(error)})
            if self._bad_messages >= MAX_BAD_MESSAGES:
                self.close(ABUSE, "Too many messages that cannot be read")

    def on_pong(self, _data: bytes) -> None:
        """Remember that the client is there."""
        self._liveness.heard()

    def on_ping(self, _data: bytes) -> None:
        """Remember that the client is there; Tornado answers it."""
        self._liveness.heard()

    def on_close(self) -> None:
        """End the socket's life."""
        self._disconnected()
        log.info(
            "socket closed",
            route=self.route,
            user=self.caller.user.id if hasattr(self, "caller") else None,
            close_code=self.close_code,
            request_id=self.request_id,
        )

    def _disconnected(self) -> None:
        """The connection is closed."""
        self.sockets.disconnected(self)
        self._vanish()

    def _vanish(self) -> None:
        """The connection is gone, or about to be, whoever has noticed it: end the socket's life, once."""
        if self.gone.is_set():
            return
        self.gone.set()
        self._admitted.set()
        self._count_out()
        if self._life is not None and self._life is not asyncio.current_task():
            self._life.cancel()

    # --- sending -----------------------------------------------------------------------------------------------------

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message and return once the kernel has it; WebSocketClosedError when the client is gone."""
        # Tornado takes a write whose future was cancelled for a defect, and logs it as one.
        await asyncio.shield(self._write(message))

    def _write(self, message: Mapping[str, Any]) -> "asyncio.Future[None]":
        sent = self.write_message(orjson.dumps(message))
        sent.add_done_callback(lambda each: None if each.cancelled() else each.exception())  # nobody may wait for it
        return sent

    async def until_gone(self, longest_s: float) -> None:
        """Wait ``longest_s``, or until the client is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self.gone.wait()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close; from now on nothing is sent, and nothing of what still comes in is looked at."""
        super().close(code, reason)
        self._vanish()

    def say_goodbye(self, code: int, reason: str, message: str, retry_after_s: int) -> None:
        """Tell an admitted client when to come back, and close; does not wait for either."""
        if self.gone.is_set() or self.ws_connection is None or self.ws_connection.is_closing():
            return
        if hasattr(self, "environment"):
            update = status_update(self.environment, wire_time(self.backend.clock.now()))
            farewell = {"message": message, "reconnect": True, "retry_after": retry_after_s}
            self._write({**update, **self._latest, **farewell})
        self.close(code, reason)

    def cut(self) -> None:
        """Close the connection at once."""
        if self._stream is not None:
            self._stream.close()

    @property
    def life(self) -> "asyncio.Task[None] | None":
        """The task that everything of this socket happens in."""
        return self._life
