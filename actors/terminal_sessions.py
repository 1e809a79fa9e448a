"""Who is attached to an environment, from where, since when."""

from dataclasses import dataclass
from datetime import timedelta

from actors.messages import AttachTerminal
from actors.ports import Ports
from devpocket.ids import EnvironmentId
from devpocket.store.errors import MissingDocumentError, VersionConflictError

KEPT_AFTER_END = timedelta(days=7)
KEPT_UNENDED = timedelta(days=30)
"""What a process that died left open goes at last without anybody's doing."""


@dataclass(frozen=True, slots=True)
class TerminalSessions:
    """The records of one environment's terminals."""

    ports: Ports
    environment_id: EnvironmentId

    async def opened(self, message: AttachTerminal) -> None:
        """Write down that a terminal was attached."""
        now = self.ports.clock.now()
        await self.ports.store.terminal_sessions.insert(
            {
                "_id": message.attachment_id,
                "environment_id": self.environment_id,
                "user_id": message.user_id,
                "address": message.address,
                "device": message.device,
                "process_id": self.ports.process_id,
                "started_at": now,
                "seen_at": now,
                "is_open": True,
                "expires_at": now + KEPT_UNENDED,
            }
        )

    async def closed(self, attachment_id: str) -> None:
        """Write down that it was closed; nothing happens for one that is not known."""
        sessions, now = self.ports.store.terminal_sessions, self.ports.clock.now()
        document = await sessions.get(attachment_id)
        if document is None or not document["is_open"]:
            return
        ended = {**document, "is_open": False, "seen_at": now, "ended_at": now, "expires_at": now + KEPT_AFTER_END}
        try:
            await sessions.replace(ended)
        except (VersionConflictError, MissingDocumentError):
            return  # a sweep has ended it, or the environment is gone
