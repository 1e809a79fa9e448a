"""The WebSocket of an environment's log: what there is, then what comes."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from actors.messages import GetLogs, LogLine, SocketKind
from devpocket.domain.events import EnvironmentEvent, EventKind
from devpocket.errors import NotFoundError
from devpocket.schemas.wire import wire_time
from handlers.announcements import announcement
from handlers.client_messages import Ping, read_message
from handlers.paths import Route
from handlers.sockets import NORMAL, SocketHandler

MAX_LINES = 1000
INSTALLATION = "installation"


class LogsSocketHandler(SocketHandler):
    """One reader of an environment's log."""

    kind = SocketKind.LOGS

    async def serve(self) -> None:
        """Greet, replay, and follow unless the client wants what there is and no more."""
        await self.send({"type": "welcome", "message": f"The log of {self.environment.name}."})
        shown = await self._replay()
        if self._wants_more():
            await self.run_together(self._follow(shown))
        self.close(NORMAL, "That is all")

    async def receive(self, message: str) -> None:
        """Answer a ping; there is nothing else to say."""
        if isinstance(read_message(message), Ping):
            await self.send({"type": "pong"})

    def _wants_more(self) -> bool:
        follow = self.request.query_arguments.get("follow", [b"true"])[-1]
        return follow.lower() not in (b"false", b"0", b"no")

    async def _replay(self) -> set[int]:
        """Send the log so far, and return hashes of it; what is announced meanwhile waits in the queue.

        Nothing is kept of what was sent: readers may be many and slow.
        """
        message = GetLogs(self.caller.user.id, MAX_LINES)
        lines = deque((await self.backend.environments.ask(self.environment.id, message)).lines)
        shown = set()
        while lines:
            line = lines.popleft()
            shown.add(hash((line.source, line.message)))
            await self.send(replayed(self.environment.id, line))
        return shown

    async def _follow(self, shown: set[int]) -> None:
        """Send what is announced, without what the replay has shown: the two overlap by a moment."""
        for event in self._waiting():
            if not is_shown(event, shown):
                await self._show(event)
        shown.clear()
        while True:
            await self._show(await self.events.get())

    def _waiting(self) -> Iterator[EnvironmentEvent]:
        while (event := self.events.get_nowait()) is not None:
            yield event

    async def _show(self, event: EnvironmentEvent) -> None:
        left_out = self.events.take_left_out()
        if left_out:
            gap = f"{left_out} messages were left out, because this connection is too slow for them."
            await self.send(log_message("WARNING", gap, "server", wire_time(event.at)))
        message = followed(event)
        if message is not None:
            await self.send(message)
        if event.data.get("phase") == "deleted":
            raise NotFoundError("There is no such environment.")


def replayed(environment_id: str, line: LogLine) -> dict[str, Any]:
    """Return a line of the log as it was when it was new."""
    if line.source == INSTALLATION:
        return {
            "type": "installation_log",
            "environment_id": environment_id,
            "data": f"{line.message}\n",
            "timestamp": wire_time(line.at),
        }
    return log_message(line.level, line.message, line.source, wire_time(line.at))


def followed(event: EnvironmentEvent) -> dict[str, Any] | None:
    """Return what a reader of the log is told of an event, if anything."""
    if event.kind is EventKind.INSTALLATION_LOG:
        said = {"environment_id": event.environment_id, "timestamp": wire_time(event.at)}
        return {"type": "installation_log", **said, "data": str(event.data.get("data", ""))}
    if event.kind is EventKind.LOG:
        data = event.data
        return log_message(data.get("level"), data.get("message"), data.get("source"), wire_time(event.at))
    return announcement(event)


def log_message(level: Any, message: Any, source: Any, timestamp: str) -> dict[str, Any]:
    """Return a ``log`` message."""
    return {"type": "log", "timestamp": timestamp, "level": level, "message": message, "source": source}


def is_shown(event: EnvironmentEvent, shown: set[int]) -> bool:
    """Tell whether the replay, of which ``shown`` has the hashes of source and message, has shown all that it says."""
    if event.kind is EventKind.LOG:
        return hash((event.data.get("source"), event.data.get("message"))) in shown
    if event.kind is EventKind.INSTALLATION_LOG:
        lines = str(event.data.get("data", "")).splitlines()
        return all(hash((INSTALLATION, line)) in shown for line in lines if line.strip())
    return False


ROUTES = (Route("/api/v1/ws/logs/{environment_id}", LogsSocketHandler),)
