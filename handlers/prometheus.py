"""The figures for the operator on the main port, for whoever has the token."""

import hmac

from tornado.web import Application, RequestHandler

from devpocket.errors import NotFoundError, UnauthenticatedError
from devpocket.metrics import CONTENT_TYPE, Metrics
from handlers.base import BaseHandler
from handlers.operations import PUBLIC, operation
from handlers.paths import Route
from handlers.requests import bearer_token


class PrometheusHandler(BaseHandler):
    """All series of this process; nothing is here unless ``METRICS_TOKEN`` is set."""

    @operation(
        "Show figures to Prometheus", allow=PUBLIC, content_type="text/plain", refuses=(401, 404), counts="other"
    )
    async def get(self) -> None:
        """Answer in Prometheus' text format to the bearer of ``METRICS_TOKEN``."""
        wanted = self.backend.settings.observation.metrics_token
        if wanted is None:
            raise NotFoundError("There is nothing at this address.")
        given = bearer_token(self.request.headers.get("Authorization")) or ""
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode()):
            raise UnauthenticatedError("These figures need their token.")
        self.set_header("Content-Type", CONTENT_TYPE)
        await self.finish(self.backend.metrics.render())


class MetricsPortHandler(RequestHandler):
    """The same on a port of its own, which is for the operator's network alone and asks for no token."""

    def initialize(self, metrics: Metrics) -> None:
        """Take the figures that are shown."""
        self._metrics = metrics

    async def get(self) -> None:
        """Answer in Prometheus' text format."""
        self.set_header("Content-Type", CONTENT_TYPE)
        await self.finish(self._metrics.render())


def make_metrics_application(metrics: Metrics) -> Application:
    """Return what listens on ``METRICS_PORT``."""
    return Application([(r"/metrics", MetricsPortHandler, {"metrics": metrics})], log_function=lambda _handler: None)


ROUTES = (Route("/metrics", PrometheusHandler),)
