"""What all handlers share, those of WebSockets included: headers, answers, refusals, the log."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import structlog
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler

from actors.backend import Backend
from actors.messages import RateLimitVerdict
from actors.origin import Origin
from devpocket.errors import DevPocketError
from devpocket.ids import new_id
from handlers import headers
from handlers.addresses import client_address, device, is_trusted
from handlers.operations import operation_of
from handlers.refusals import body_of, retry_after_s, status_of

log = structlog.get_logger("devpocket.http")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_VERBS = ("get", "post", "put", "patch", "delete")


class AnsweringHandler(RequestHandler):
    """Answers as the contract says, whatever has happened."""

    route = ""
    request_id = ""
    _verdict: RateLimitVerdict | None = None

    def initialize(self, route: str) -> None:
        """Take the route's pattern, which names the route in logs and metrics."""
        self.route = route

    @property
    def backend(self) -> Backend:
        """Whom handlers ask."""
        backend: Backend = self.settings["backend"]
        return backend

    @property
    def origin(self) -> Origin:
        """Where the request comes from."""
        return origin_of(self.request, self.backend)

    def write_json(self, body: Any, status: int = 200) -> None:
        """Answer with ``body`` as JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(body, default=str))

    def _has(self, verb: str) -> bool:
        return operation_of(getattr(self, verb)) is not None

    def _methods(self) -> str:
        verbs = [verb.upper() for verb in _VERBS if self._has(verb)]
        return ", ".join([*verbs, *(["HEAD"] if "GET" in verbs else []), "OPTIONS"])

    def set_default_headers(self) -> None:
        """Set what every answer has; Tornado calls this again when it starts over with a refusal."""
        given = self.request.headers.get("X-Request-ID", "")
        self.request_id = self.request_id or (given if _REQUEST_ID.fullmatch(given) else new_id())
        self.set_header("X-Request-ID", self.request_id)
        self._set_headers(headers.SECURITY)
        if is_tls(self.request, self.backend):
            self.set_header(*headers.STRICT_TRANSPORT)
        allowed = self.backend.settings.http.allowed_origins
        self._set_headers(headers.cross_origin(self.request.headers.get("Origin"), allowed))
        self._set_headers(headers.rate_limit(self._verdict))

    def _set_headers(self, pairs: Iterable[tuple[str, str]]) -> None:
        for name, value in pairs:
            self.set_header(name, value)

    def compute_etag(self) -> None:
        """Answers are never stored by clients, so there is nothing to compare."""

    def write_error(self, status_code: int, **options: Any) -> None:
        """Answer with the body that every refusal has."""
        raised = (options.get("exc_info") or (None, None, None))[1]
        error = raised.__cause__ if isinstance(raised, HTTPError) else raised
        if status_code == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if status_code == 405:
            self.set_header("Allow", self._methods())
        if status_code == 426:
            self.set_header("Upgrade", "websocket")
            self.set_header("Sec-WebSocket-Version", "13")
        if status_code == 429 or (isinstance(error, DevPocketError) and error.retry_after_s is not None):
            self.set_header("Retry-After", str(retry_after_s(error)))
        self.write_refusal(self._refusal_body(status_code, error), status_code)

    def write_refusal(self, body: Mapping[str, Any], status: int) -> None:
        """Answer with the body of a refusal."""
        self.write_json(body, status)

    def _refusal_body(self, status: int, error: BaseException | None) -> Mapping[str, Any]:
        now, path = self.backend.clock.now(), self.request.path
        return body_of(status, error, now=now, path=path, request_id=self.request_id)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Write what nobody expected to the log; refusals are in the access log."""
        cause = value.__cause__ if isinstance(value, HTTPError) else value
        if isinstance(cause, DevPocketError):
            if status_of(cause) >= 500:
                log.warning("refused", request_id=self.request_id, error_code=cause.code, detail=cause.detail)
        elif not isinstance(value, HTTPError):
            log.error("request failed", request_id=self.request_id, route=self.route, exc_info=(typ, value, tb))


def origin_of(request: HTTPServerRequest, backend: Backend) -> Origin:
    """Return where a request comes from: its address, through trusted proxies only, and its device."""
    trusted = backend.settings.http.trusted_proxies
    forwarded = ",".join(request.headers.get_list("X-Forwarded-For"))
    address = client_address(request.remote_ip or "", forwarded, trusted)
    return Origin(address=address, device=device(request.headers.get("User-Agent", "")))


def is_tls(request: HTTPServerRequest, backend: Backend) -> bool:
    """Tell whether the client came over TLS, to this process or to a proxy that is trusted."""
    settings = backend.settings.http
    if settings.is_tls or request.protocol == "https":
        return True
    proto: str = request.headers.get("X-Forwarded-Proto", "")
    return proto.lower() == "https" and is_trusted(request.remote_ip or "", settings.trusted_proxies)
