"""The audit trail: sign-ins, refusals, locks, acts of administrators."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from actors.messages import Activity
from actors.origin import Origin
from actors.ports import Ports
from devpocket.ids import UserId, new_id


@dataclass(frozen=True, slots=True)
class Audit:
    """Writes and reads lines; they expire by themselves."""

    ports: Ports

    async def note(self, action: str, origin: Origin, *, user_id: UserId | None = None, **detail: Any) -> None:
        """Write one line; ``detail`` holds JSON values and no secret."""
        now = self.ports.clock.now()
        await self.ports.store.audit.insert(
            {
                "_id": new_id(),
                "user_id": user_id,
                "at": now,
                "action": action,
                "address": origin.address,
                "device": origin.device,
                "detail": detail,
                "expires_at": now + timedelta(seconds=self.ports.settings.store.audit_ttl_s),
            }
        )

    async def forget(self, user_id: UserId) -> None:
        """Remove the lines of a user who goes."""
        await self.ports.store.audit.delete_by("user_at", user_id)

    async def of_user(self, user_id: UserId, limit: int, before: datetime | None) -> Sequence[Activity]:
        """Return a user's newest lines, newest first."""
        lines = await self.ports.store.audit.query("user_at", user_id, upper=before, descending=True, limit=limit)
        return [Activity(line["action"], line["at"], line["address"], line["device"], line["detail"]) for line in lines]
