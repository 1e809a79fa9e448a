"""Attaching to an environment, and who is attached to it, from where, since when."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actors.messages import AttachTerminal
from actors.ports import Ports
from actors.side_by_side import side_by_side
from devpocket.domain.terminals import TerminalSize
from devpocket.ids import EnvironmentId
from devpocket.runtime.port import Terminal
from devpocket.store.errors import MissingDocumentError, VersionConflictError
from devpocket.store.port import MAX_LIMIT, Collection, Document

KEPT_AFTER_END = timedelta(days=7)
KEPT_UNENDED = timedelta(days=30)
"""What a process that died left open goes at last without anybody's doing."""


@dataclass(frozen=True, slots=True)
class TerminalSessions:
    """One environment's terminals and their records."""

    ports: Ports
    environment_id: EnvironmentId
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """Each client is shown what had scrolled off when the last one attached, so they come one after the other."""

    async def attach(self, size: TerminalSize | None) -> Terminal:
        """Attach a tmux client, which takes its time where a terminal hangs. Cancelling leaves none."""
        async with self._turn:
            return await self.ports.runtime.attach(self.environment_id, size)

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
        if document is not None and document["is_open"]:
            await end(sessions, document, now)


async def end_all(ports: Ports) -> int:
    """Write down that all terminals of this process were closed, which stops; return how many there were.

    Raises UnavailableError when the store does not answer. Cancelling leaves a rest, which a sweep ends.
    """
    sessions, now, count, last = ports.store.terminal_sessions, ports.clock.now(), 0, None
    while page := await sessions.query("is_open", True, limit=MAX_LIMIT, after=last):
        own = [each for each in page if each["process_id"] == ports.process_id]
        count += sum(await side_by_side(own, lambda document: end(sessions, document, now)))
        last = page[-1]
    return count


async def end(sessions: Collection, document: Document, now: datetime) -> bool:
    """Write down that the terminal was closed; tell whether nobody else had done so."""
    ended = {**document, "is_open": False, "seen_at": now, "ended_at": now, "expires_at": now + KEPT_AFTER_END}
    try:
        await sessions.replace(ended)
    except (VersionConflictError, MissingDocumentError):
        return False  # a sweep has ended it, or the environment is gone
    return True
