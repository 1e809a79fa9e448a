"""What an environment's user can read of it: lines in the store, events for open sockets.

Lines have ids that follow from what they say, so that a process which takes an environment over writes none twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from actors.ports import Ports
from devpocket.bus.port import Topic
from devpocket.domain.environments import DesiredState, Environment, EnvironmentPhase
from devpocket.domain.events import EnvironmentEvent, EventKind
from devpocket.ids import EnvironmentId
from devpocket.store.errors import DuplicateKeyError
from devpocket.store.port import Document

MAXIMUM_LINE_CHARACTERS = 2000
MAXIMUM_INSTALLATION_BYTES = 1 << 20
"""Of one attempt's output so much is kept line by line; sockets see all that the runtime keeps."""

_PROGRESS: Mapping[EnvironmentPhase, int] = {
    EnvironmentPhase.REQUESTED: 0,
    EnvironmentPhase.PROVISIONING: 10,
    EnvironmentPhase.INSTALLING: 20,
    EnvironmentPhase.CONFIGURING: 90,
    EnvironmentPhase.RUNNING: 100,
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line for the store; ``key`` tells it from the others of its environment and source, whoever writes it."""

    key: str
    level: str
    message: str


class Journal:
    """Writes lines and announces events of environments."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._keep = timedelta(seconds=ports.settings.store.logs_ttl_s)

    async def announce(self, environment_id: EnvironmentId, kind: EventKind, data: Mapping[str, Any]) -> None:
        """Tell every process; a hint that may be lost."""
        now = self._ports.clock.now()
        event = {"environment_id": environment_id, "kind": kind.value, "at": now.isoformat(), "data": dict(data)}
        await self._ports.bus.publish(Topic.ENVIRONMENT_EVENT, event)

    async def phase_changed(self, environment: Environment) -> None:
        """Write a line for what is now, and announce it."""
        level = "ERROR" if environment.phase is EnvironmentPhase.FAILED else "INFO"
        await self._write(environment, [Line(f"{environment.version:08d}", level, environment.message)], "lifecycle")
        await self.status(environment)
        await self._announce_installation(environment)

    async def status(self, environment: Environment) -> None:
        """Announce what is now; ``origin`` lets an owner tell its own announcements from others'."""
        data = {**status_data(environment), "origin": self._ports.process_id}
        await self.announce(environment.id, EventKind.STATUS, data)

    async def _announce_installation(self, environment: Environment) -> None:
        if environment.phase is EnvironmentPhase.INSTALLING:
            data = {"status": environment.phase.value, "message": environment.message}
            await self.announce(environment.id, EventKind.INSTALLATION_STATUS, data)
        elif environment.phase is EnvironmentPhase.CONFIGURING and environment.installation_error:
            await self.announce(environment.id, EventKind.INSTALLATION_ERROR, {"error": environment.installation_error})
        elif environment.phase is EnvironmentPhase.RUNNING and environment.installation_completed:
            await self.announce(environment.id, EventKind.INSTALLATION_COMPLETE, {"status": "running"})

    async def installation_output(self, environment: Environment, offset: int, text: str) -> None:
        """Keep ``text``, which stands at ``offset`` of the attempt's output, and announce it."""
        if offset < MAXIMUM_INSTALLATION_BYTES:
            await self._write(environment, _lines_at(environment.attempt, offset, text), "installation")
        await self.announce(environment.id, EventKind.INSTALLATION_LOG, {"data": text})

    async def installation_ended(self, environment: Environment, level: str, message: str) -> None:
        """Write the sentence that ends an attempt."""
        line = Line(f"{environment.attempt:04d}-{MAXIMUM_INSTALLATION_BYTES * 10}", level, message)
        await self._write(environment, [line], "installation")

    async def _write(self, environment: Environment, lines: Sequence[Line], source: str) -> None:
        """Keep ``lines``; those already kept stay as they are."""
        now = self._ports.clock.now()
        documents: list[Document] = [
            {
                "_id": f"{environment.id}-{source}-{line.key}",
                "environment_id": environment.id,
                "at": now,
                "level": line.level,
                "message": line.message[:MAXIMUM_LINE_CHARACTERS],
                "source": source,
                "expires_at": now + self._keep,
            }
            for line in lines
        ]
        if not documents:
            return
        try:
            await self._ports.store.logs.insert_many(documents)
        except DuplicateKeyError:
            return  # a former owner has written some of them, and those that were missing are there now
        if source == "lifecycle":
            for line in lines:
                data = {"level": line.level, "message": line.message, "source": source}
                await self.announce(environment.id, EventKind.LOG, data)


def _lines_at(attempt: int, offset: int, text: str) -> Sequence[Line]:
    """Return the lines of output that begins at ``offset``, named by their own place: each owner reads other pieces."""
    lines = []
    for line in text.splitlines(keepends=True):
        if line.strip():
            lines.append(Line(f"{attempt:04d}-{offset:09d}", "INFO", line.splitlines()[0]))
        offset += len(line.encode(errors="replace"))
    return lines


def status_data(environment: Environment) -> dict[str, Any]:
    """Return what a status event says."""
    return {
        "phase": environment.phase.value,
        "status": environment.status.value,
        "message": environment.message,
        "progress": _progress(environment),
        "version": environment.version,
        "installation_completed": environment.installation_completed,
    }


def _progress(environment: Environment) -> int | None:
    """Return percent of the way to running; None where it is not on that way."""
    if environment.phase is EnvironmentPhase.RUNNING and not environment.is_settled:
        return 0 if environment.desired is DesiredState.RUNNING else None
    return _PROGRESS.get(environment.phase)


def event_from_bus(event: Mapping[str, Any], at: Any) -> EnvironmentEvent | None:
    """Return the event that came over the bus, or None for one of a shape that another version sends."""
    try:
        kind = EventKind(event["kind"])
        return EnvironmentEvent(EnvironmentId(str(event["environment_id"])), kind, at, dict(event["data"]))
    except (KeyError, ValueError, TypeError):
        return None
