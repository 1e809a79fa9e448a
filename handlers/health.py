"""What the service says of itself."""

from importlib.metadata import version

from devpocket.schemas.service import (
    ApiHealthAnswer,
    HealthAnswer,
    InfoAnswer,
    LiveAnswer,
    ReadyAnswer,
    RootAnswer,
    StartedAnswer,
)
from handlers.base import BaseHandler
from handlers.operations import PUBLIC, operation
from handlers.paths import Route

NAME = "DevPocket Server"
VERSION = version("devpocket-server")


class RootHandler(BaseHandler):
    """The front door."""

    @operation("Say where to find what", allow=PUBLIC, answer=RootAnswer, counts="other")
    async def get(self) -> None:
        """Answer with addresses."""
        self.answer(
            {
                "message": f"This is {NAME}.",
                "version": VERSION,
                "environment": self.backend.settings.server.environment,
                "documentation": "/docs",
                "health": "/health",
                "timestamp": self.backend.clock.now(),
            }
        )


class _HealthHandler(BaseHandler):
    def _healthy(self) -> dict[str, str]:
        environment = self.backend.settings.server.environment
        return {"status": "healthy", "service": NAME, "version": VERSION, "environment": environment}


class HealthHandler(_HealthHandler):
    """What the app looks at before anything else."""

    @operation("Say that the service answers", allow=PUBLIC, answer=HealthAnswer)
    async def get(self) -> None:
        """Answer with the time in seconds since 1970."""
        self.answer({**self._healthy(), "timestamp": self.backend.clock.now().timestamp()})


class ApiHealthHandler(_HealthHandler):
    """The same under the API's prefix."""

    @operation("Say that the API answers", allow=PUBLIC, answer=ApiHealthAnswer)
    async def get(self) -> None:
        """Answer with the time as text."""
        self.answer({**self._healthy(), "timestamp": self.backend.clock.now()})


class LiveHandler(BaseHandler):
    """For whoever restarts processes that hang."""

    @operation("Say that the process lives", allow=PUBLIC, answer=LiveAnswer)
    async def get(self) -> None:
        """Answer at all."""
        self.answer({"status": "alive"})


class ReadyHandler(BaseHandler):
    """For whoever sends requests to several processes."""

    @operation("Say whether requests should be sent here", allow=PUBLIC, answer=ReadyAnswer)
    async def get(self) -> None:
        """Answer 200 with every part's state, or 503 with the same body; 503 comes first when the server stops."""
        readiness = await self.backend.health.ready()
        checks = {name: check.status for name, check in readiness.checks.items()}
        body = {"status": "ready" if readiness.ready else "not ready", "checks": checks, "details": readiness.checks}
        self.write_json(ReadyAnswer().dump(body), 200 if readiness.ready else 503)


class StartupHandler(BaseHandler):
    """For whoever waits for a start. A part that is away later is no reason to start again."""

    @operation("Say that the start is over", allow=PUBLIC, answer=StartedAnswer)
    async def get(self) -> None:
        """Answer at all: nothing is answered before the parts have answered, the sweeps run and the port is open."""
        self.answer({"status": "started"})


class InfoHandler(BaseHandler):
    """What this installation can do."""

    @operation("Show features and limits", allow=PUBLIC, answer=InfoAnswer, counts="other")
    async def get(self) -> None:
        """Answer with what is switched on, what each plan allows and which limits of the runtime hold here."""
        info = await self.backend.health.info()
        environment = self.backend.settings.server.environment
        now = self.backend.clock.now()
        self.answer({"name": NAME, "version": VERSION, "environment": environment, "timestamp": now, **info})


ROUTES = (
    Route("/", RootHandler),
    Route("/health", HealthHandler),
    Route("/health/ready", ReadyHandler),
    Route("/health/live", LiveHandler),
    Route("/health/startup", StartupHandler),
    Route("/api/v1/health", ApiHealthHandler),
    Route("/api/v1/info", InfoHandler),
)
