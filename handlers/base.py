"""What all REST handlers share: identification, limits, bodies, answers, refusals.

A request is admitted in ``prepare``, before its body is read; a refusal found there is kept until the body has
arrived (and been thrown away), so that the client hears it instead of a reset connection.
"""

import asyncio
import random
from typing import Any

from tornado.web import HTTPError, stream_request_body

from actors.directory import ReplyT
from actors.loop import Message
from actors.messages import Caller, RateLimitVerdict, TakeRequest
from devpocket.domain.limits import retry_after
from devpocket.errors import (
    DevPocketError,
    NotFoundError,
    PayloadTooLargeError,
    RateLimitedError,
    UnauthenticatedError,
)
from devpocket.ids import EnvironmentId, is_id
from handlers import headers
from handlers.answers import AnsweringHandler, log
from handlers.operations import Operation, Verb, late, operation_of
from handlers.refusals import refusal
from handlers.requests import bearer_token, check_headers, content_length, load_body, load_query

ADMISSION_DEADLINE_S = 15.0
DRAIN_BYTES = 64 * 1024 * 1024
"""Of a body that is too large so much is read and thrown away, so that its sender comes to read the answer."""

_CHANCE = random.SystemRandom()


@stream_request_body
class BaseHandler(AnsweringHandler):
    """The base of every REST handler; a verb carries ``@operation``."""

    caller: Caller
    _chunks: bytearray
    _refusal: DevPocketError | HTTPError | None = None
    _is_through = False
    _patience: asyncio.TimerHandle | None = None

    # --- admission ---------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Find out who asks and whether they may; keep a refusal until the body is through."""
        self._chunks = bytearray()
        limits = self.backend.settings.http
        self._patience = asyncio.get_running_loop().call_later(limits.header_timeout_s, self._lose_patience)
        self._accept_body(limits.max_body_bytes)
        try:
            async with asyncio.timeout(ADMISSION_DEADLINE_S):
                await self._admit(self._operation())
        except (DevPocketError, HTTPError) as error:
            self._refusal = self._refusal or error
        except TimeoutError:
            self._refusal = self._refusal or late()

    async def _admit(self, operation: Operation | None) -> None:
        check_headers(self.request)
        if operation is None:
            if self.request.method != "OPTIONS":
                self._spend(await self.backend.take_anonymous("other", self.origin.address))
            return
        if operation.counts is not None:
            self._spend(await self.backend.take_anonymous(operation.counts, self.origin.address))
        if operation.permission is not None:
            self.caller = await self._identified()
            self._spend(await self.ask_user(TakeRequest()))
            await self.backend.accounts.authorise(self.caller, operation.permission)

    async def _identified(self) -> Caller:
        """Return who asks; whoever cannot say it is counted by address, for guessing must not be free."""
        token = bearer_token(self.request.headers.get("Authorization"))
        try:
            return await self.backend.accounts.authenticate(access_token=token, origin=self.origin)
        except UnauthenticatedError:
            self._spend(await self.backend.take_anonymous("other", self.origin.address))
            raise

    def _spend(self, verdict: RateLimitVerdict) -> None:
        self._verdict = verdict
        self._set_headers(headers.rate_limit(verdict))
        if not verdict.allowed:
            wait_s = retry_after(verdict.retry_after_s, _CHANCE.random())
            raise RateLimitedError("Too many requests. Wait a little.", retry_after_s=wait_s)

    def _operation(self) -> Operation | None:
        method = "get" if self.request.method == "HEAD" else str(self.request.method).lower()
        return operation_of(getattr(self, method, None))

    # --- the body ----------------------------------------------------------------------------------------------------

    def _accept_body(self, most: int) -> None:
        """Let a body of ``most`` bytes in, and be polite to one that is larger."""
        connection: Any = self.request.connection
        connection.set_max_body_size(max(most, DRAIN_BYTES))
        announced = content_length(self.request)
        if announced <= most:
            return
        self._refusal = PayloadTooLargeError(f"The body of a request may have {most} bytes at most.")
        if announced > DRAIN_BYTES or "Expect" in self.request.headers:
            connection.set_max_body_size(announced)
            raise HTTPError(413) from self._refusal

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body, unless the request is refused already."""
        most = self.backend.settings.http.max_body_bytes
        if self._refusal is None and len(self._chunks) + len(chunk) > most:
            self._refusal = PayloadTooLargeError(f"The body of a request may have {most} bytes at most.")
        if self._refusal is None:
            self._chunks += chunk
        else:
            self._chunks.clear()

    def on_connection_close(self) -> None:
        """The client has gone before it was answered: this line is all that tells of it."""
        self._stop_waiting()
        if not self._finished:
            log.info("request abandoned", route=self.route, request_id=self.request_id)
        super().on_connection_close()

    def _lose_patience(self) -> None:
        if not self._finished:
            self.send_error(408)

    def begin(self) -> None:
        """The body is through: raise the refusal that was kept, or let the verb run."""
        self._stop_waiting()
        self._is_through = True
        self.request.body = bytes(self._chunks)
        if self._refusal is not None:
            raise self._refusal

    def begin_refusal(self) -> None:
        """As :meth:`begin`, where no verb runs: what was found before, such as too many requests, goes first."""
        try:
            self.begin()
        except DevPocketError as error:
            raise refusal(error) from error

    def write_error(self, status_code: int, **options: Any) -> None:
        """Answer as ever; a connection whose body is not through will be closed, so say so."""
        if not self._is_through:
            self.set_header("Connection", "close")
        super().write_error(status_code, **options)

    def on_finish(self) -> None:
        """Forget the timer, however the request ended."""
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    # --- what verbs use ----------------------------------------------------------------------------------------------

    def body(self) -> Any:
        """Return the body as the operation's schema loads it; MalformedRequestError, ValidationError."""
        operation = self._operation()
        assert operation is not None and operation.body is not None  # noqa: S101, PT018 - the verb is running
        return load_body(operation.body, self.request)

    def query(self) -> Any:
        """Return the query as the operation's schema loads it; MalformedRequestError, ValidationError."""
        operation = self._operation()
        assert operation is not None and operation.query is not None  # noqa: S101, PT018 - the verb is running
        return load_query(operation.query, self.request)

    async def ask_user(self, message: Message[ReplyT]) -> ReplyT:
        """Ask the caller's actor; UnavailableError when it does not answer in time."""
        return await self.backend.users.ask(self.caller.user.id, message)

    async def ask_environment(self, environment_id: str, message: Message[ReplyT]) -> ReplyT:
        """Ask an environment's actor; NotFoundError at once for what can be no environment's id."""
        return await self.backend.environments.ask(known_id(environment_id), message)

    def answer(self, value: Any) -> None:
        """Answer with ``value`` through the operation's schema and with its status."""
        operation = self._operation()
        assert operation is not None and operation.answer is not None  # noqa: S101, PT018 - the verb is running
        self.write_json(operation.answer.dump(value), operation.status)

    # --- methods that all have ---------------------------------------------------------------------------------------

    async def _refuse(self, *_path: str) -> None:
        """Answer a method that this address does not have."""
        self.begin_refusal()
        raise HTTPError(405)

    _unknown: Verb = _refuse
    get = post = put = patch = delete = _unknown

    async def head(self, *path: str) -> None:
        """Answer as GET without the body, also where there is no GET."""
        answering = self.get(*path)
        if answering is not None:
            await answering

    async def options(self, *_path: str) -> None:
        """Say which methods there are; answer a browser's preflight."""
        self._stop_waiting()
        allowed = self.backend.settings.http.allowed_origins
        self.set_status(204)
        self.set_header("Allow", self._methods())
        self._set_headers(headers.preflight(self.request.headers.get("Origin"), allowed, self._methods()))
        self.finish()


def known_id(environment_id: str) -> EnvironmentId:
    """Return what may be an environment's id; NotFoundError for what can be none."""
    if not is_id(environment_id):
        raise NotFoundError("There is no such environment.")
    return EnvironmentId(environment_id)
