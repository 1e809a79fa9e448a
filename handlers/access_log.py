"""One line for every request, and its figures."""

from typing import Any

import structlog
from tornado.web import RequestHandler

from handlers.answers import origin_of

log = structlog.get_logger("devpocket.access")

_PROBES = ("/health", "/health/live", "/health/ready", "/health/startup")
"""Asked every few seconds by machines: DEBUG unless something is wrong."""


def log_request(handler: RequestHandler) -> None:
    """Write the line: user, route, status, time. Neither queries nor headers are in it, so no secret is."""
    status, duration_s = handler.get_status(), handler.request.request_time()
    route: str = getattr(handler, "route", "") or "unknown"
    handler.settings["backend"].metrics.request_ended(route, status, duration_s)
    caller = getattr(handler, "caller", None)
    line: dict[str, Any] = {
        "method": handler.request.method,
        "route": route,
        "path": handler.request.path[:200],
        "status": status,
        "duration_ms": round(duration_s * 1000, 1),
        "user": caller.user.id if caller else None,
        "address": origin_of(handler.request, handler.settings["backend"]).address,
        "request_id": getattr(handler, "request_id", ""),
    }
    if status >= 500 and route not in _PROBES:
        log.error("request", **line)
    elif status < 400 and route in _PROBES:
        log.debug("request", **line)
    else:
        log.info("request", **line)
