"""One line for every request, and its figures."""

import re
from typing import Any

import structlog
from tornado.web import RequestHandler

from devpocket.ids import is_id
from handlers.answers import origin_of

log = structlog.get_logger("devpocket.access")

_PLAIN = re.compile(r"(?:[a-z_.-]{1,32}|v[0-9])?")
_MAX_PARTS = 12

_PROBES = ("/health", "/health/live", "/health/ready", "/health/startup")
"""Asked every few seconds by machines: DEBUG unless something is wrong."""


def shown_path(path: str) -> str:
    """Return a path as it may be written down: plain words and ids; ``*`` stands for anything else in it.

    A code, a token or a password that somebody puts into an address where none belongs stays unwritten.
    """
    return "/".join(part if _PLAIN.fullmatch(part) or is_id(part) else "*" for part in path.split("/")[:_MAX_PARTS])


def log_request(handler: RequestHandler) -> None:
    """Write the line: user, route, status, time. Neither queries nor headers are in it, so no secret is."""
    status, duration_s = handler.get_status(), handler.request.request_time()
    route: str = getattr(handler, "route", "") or "unknown"
    handler.settings["backend"].metrics.request_ended(route, status, duration_s)
    caller = getattr(handler, "caller", None)
    user = caller.user if caller else getattr(handler, "signed_in", None)
    line: dict[str, Any] = {
        "method": handler.request.method,
        "route": route,
        "path": shown_path(handler.request.path),
        "status": status,
        "duration_ms": round(duration_s * 1000, 1),
        "user": user.id if user else None,
        "address": origin_of(handler.request, handler.settings["backend"]).address,
        "request_id": getattr(handler, "request_id", ""),
    }
    if status >= 500 and route not in _PROBES:
        log.error("request", **line)
    elif status < 400 and route in _PROBES:
        log.debug("request", **line)
    else:
        log.info("request", **line)
