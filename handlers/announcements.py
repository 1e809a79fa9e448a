"""What sockets are told of their environment."""

from typing import Any

from devpocket.domain.environments import Environment, EnvironmentPhase
from devpocket.domain.events import EnvironmentEvent, EventKind
from devpocket.schemas.wire import wire_time


def welcome(environment: Environment) -> dict[str, Any]:
    """Return the first message; the app shows ``message``, the name and the template."""
    return {
        "type": "welcome",
        "message": f"Connected to {environment.name}.",
        "environment": {
            "id": environment.id,
            "name": environment.name,
            "template": environment.template_name,
            "status": environment.status.value,
            "installation_completed": environment.installation_completed,
            "pty_enabled": True,
        },
    }


def status_update(environment: Environment, timestamp: str) -> dict[str, Any]:
    """Return what an environment is now."""
    message = environment.message
    if environment.phase is EnvironmentPhase.STOPPED:
        message = environment.stop_reason or "The environment is stopped. Start it to use its terminal."
    return {
        "type": "status_update",
        "environment_id": environment.id,
        "status": environment.status.value,
        "phase": environment.phase.value,
        "message": message,
        "timestamp": timestamp,
    }


def announcement(event: EnvironmentEvent) -> dict[str, Any] | None:
    """Return what a terminal's client is told of an event, if anything."""
    said = {"environment_id": event.environment_id, "timestamp": wire_time(event.at)}
    match event.kind:
        case EventKind.STATUS:
            fields = ("status", "phase", "message", "progress", "installation_completed")
            known = {name: event.data[name] for name in fields if event.data.get(name) is not None}
            return {"type": "status_update", **said, **known}
        case EventKind.NOTICE:
            return {"type": "info", **said, "message": str(event.data.get("message", ""))}
        case EventKind.INSTALLATION_STATUS | EventKind.INSTALLATION_COMPLETE | EventKind.INSTALLATION_ERROR:
            return {"type": event.kind.value, **said, **event.data}
    return None
