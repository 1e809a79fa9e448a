"""Environments: the list, one, what can be asked of it, its figures and its log."""

from actors.messages import (
    Command,
    CommandEnvironment,
    CreateEnvironment,
    EnvironmentView,
    GetEnvironment,
    GetLogs,
    GetMetrics,
    ListEnvironments,
    UpdateEnvironment,
)
from devpocket.domain.templates import Wish
from devpocket.schemas.environments import (
    CommandAnswer,
    CreateEnvironmentRequest,
    EnvironmentAnswer,
    EnvironmentsQuery,
    LogsAnswer,
    LogsQuery,
    MetricsAnswer,
    MetricsQuery,
    UpdateEnvironmentRequest,
)
from handlers.base import BaseHandler, known_id
from handlers.operations import operation
from handlers.paths import Route


class EnvironmentsHandler(BaseHandler):
    """All environments of the caller."""

    @operation(
        "List environments", allow="environments:read", query=EnvironmentsQuery, answer=EnvironmentAnswer, many=True
    )
    async def get(self) -> None:
        """Answer with a bare array, last changed first."""
        query = self.query()
        template = query.pop("template_id")
        environments = await self.ask_user(ListEnvironments(template=template, **query))
        self.answer([EnvironmentView(environment) for environment in environments])

    @operation(
        "Create an environment",
        allow="environments:create",
        body=CreateEnvironmentRequest,
        answer=EnvironmentAnswer,
        status=201,
        refuses=(403, 404, 409),
    )
    async def post(self) -> None:
        """Answer at once with the environment as it is planned; the rest goes on in the background."""
        body = self.body()
        template = body.pop("template_id")
        environment = await self.ask_user(CreateEnvironment(template, Wish(**body)))
        self.answer(EnvironmentView(environment))


class EnvironmentHandler(BaseHandler):
    """One environment."""

    @operation("Show an environment", allow="environments:read", answer=EnvironmentAnswer, refuses=(404,))
    async def get(self, environment_id: str) -> None:
        """Answer with it and its present figures."""
        self.answer(await self.ask_environment(environment_id, GetEnvironment(self.caller.user.id)))

    @operation(
        "Change an environment",
        allow="environments:write",
        body=UpdateEnvironmentRequest,
        answer=EnvironmentAnswer,
        refuses=(403, 404, 409),
    )
    async def put(self, environment_id: str) -> None:
        """Change what the body names and answer with it as it is then."""
        message = UpdateEnvironment(self.caller.user.id, self.body())
        self.answer(await self.ask_environment(environment_id, message))

    @operation("Delete an environment", allow="environments:write", status=204, refuses=(404,))
    async def delete(self, environment_id: str) -> None:
        """Delete it in whatever state it is; it is gone for its user at once."""
        await self.ask_environment(environment_id, CommandEnvironment(self.caller.user.id, Command.DELETE))
        self.set_status(204)


class _CommandHandler(BaseHandler):
    """One command to an environment."""

    command: Command
    said: str

    async def _command(self, environment_id: str) -> None:
        message = CommandEnvironment(self.caller.user.id, self.command)
        environment = await self.backend.settling.command(known_id(environment_id), message)
        self.answer({"message": self.said, "status": environment.status, "phase": environment.phase})


class StartHandler(_CommandHandler):
    """The start of a stopped environment."""

    command, said = Command.START, "The environment is starting."

    @operation("Start an environment", allow="environments:write", answer=CommandAnswer, refuses=(400, 404))
    async def post(self, environment_id: str) -> None:
        """Ask a stopped environment to run."""
        await self._command(environment_id)


class StopHandler(_CommandHandler):
    """The stop of a running environment."""

    command, said = Command.STOP, "The environment is stopping."

    @operation("Stop an environment", allow="environments:write", answer=CommandAnswer, refuses=(400, 404))
    async def post(self, environment_id: str) -> None:
        """Ask a running environment to stop; its home stays."""
        await self._command(environment_id)


class RestartHandler(_CommandHandler):
    """The restart of an environment."""

    command, said = Command.RESTART, "The environment is restarting."

    @operation("Restart an environment", allow="environments:write", answer=CommandAnswer, refuses=(400, 404))
    async def post(self, environment_id: str) -> None:
        """Ask a running, stopped or failed environment for a fresh container on the same home."""
        await self._command(environment_id)


class RecoverHandler(_CommandHandler):
    """Another try at the installation."""

    command, said = Command.RECOVER, "The environment is being recovered."

    @operation("Run the start-up scripts again", allow="environments:write", answer=CommandAnswer, refuses=(400, 404))
    async def post(self, environment_id: str) -> None:
        """Ask an environment whose installation failed, or that failed as a whole, for another try."""
        await self._command(environment_id)


class MetricsHandler(BaseHandler):
    """Figures of an environment."""

    @operation(
        "Show figures of an environment",
        allow="environments:read",
        query=MetricsQuery,
        answer=MetricsAnswer,
        refuses=(404,),
    )
    async def get(self, environment_id: str) -> None:
        """Answer with present figures and their history."""
        metrics = await self.ask_environment(environment_id, GetMetrics(self.caller.user.id, **self.query()))
        self.answer(
            {
                "environment_id": environment_id,
                "usage": metrics.usage,
                "history": metrics.history,
                "bucket_seconds": metrics.bucket.total_seconds(),
            }
        )


class LogsHandler(BaseHandler):
    """The log of an environment."""

    @operation(
        "Show the log of an environment", allow="environments:read", query=LogsQuery, answer=LogsAnswer, refuses=(404,)
    )
    async def get(self, environment_id: str) -> None:
        """Answer with the newest lines, oldest of them first, as plain text and with their parts."""
        page = await self.ask_environment(environment_id, GetLogs(self.caller.user.id, **self.query()))
        self.answer(
            {
                "environment_id": environment_id,
                "environment_name": page.environment_name,
                "logs": [f"{line.at:%Y-%m-%d %H:%M:%S} {line.level} {line.message}" for line in page.lines],
                "entries": page.lines,
                "total": page.total,
                "total_lines": page.total,
                "has_more": page.has_more,
            }
        )


ROUTES = (
    Route("/api/v1/environments", EnvironmentsHandler),
    Route("/api/v1/environments/{environment_id}", EnvironmentHandler),
    Route("/api/v1/environments/{environment_id}/start", StartHandler),
    Route("/api/v1/environments/{environment_id}/stop", StopHandler),
    Route("/api/v1/environments/{environment_id}/restart", RestartHandler),
    Route("/api/v1/environments/{environment_id}/recover", RecoverHandler),
    Route("/api/v1/environments/{environment_id}/metrics", MetricsHandler),
    Route("/api/v1/environments/{environment_id}/logs", LogsHandler),
)
