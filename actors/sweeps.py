"""Looking for what nobody drives, nobody owns or nobody ended: the safety net under events and leases."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime

from actors.account_removal import AccountRemoval
from actors.directory import Directory
from actors.environment import DriveEnvironment
from actors.ports import Ports
from devpocket.domain.environments import EnvironmentPhase
from devpocket.errors import UnavailableError
from devpocket.ids import EnvironmentId, UserId
from devpocket.metrics import SweepKind
from devpocket.store.errors import MissingDocumentError, VersionConflictError
from devpocket.store.port import MAX_LIMIT, Document, Key, Lease

BATCH = 200
PROCESS = "process:"
_LONG_AGO = datetime(1970, 1, 2, tzinfo=UTC)
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Sweeps:
    """Each method looks once and returns how many it found; the supervisor calls them on their intervals."""

    ports: Ports
    environments: Directory[EnvironmentId]
    removal: AccountRemoval
    owns_runtime: bool = True
    """Whether the runtime's data belongs to this store; else containers without a document are left alone."""
    _suspects: set[EnvironmentId] = field(default_factory=set)

    async def unsettled(self) -> int:
        """Drive environments that are on their way and have no owner, and those whose owner died."""
        expired = await self.ports.store.expired_leases(BATCH)
        orphaned = [lease.id for lease in expired if not await self._forget_if_useless(lease)]
        return await self._drive_unowned(orphaned, is_abandoned=True) + await self._drive_all_unowned("settled", False)

    async def _forget_if_useless(self, lease: Lease) -> bool:
        """Remove the lease of a dead process, or of an environment that is gone; tell whether it was one."""
        if not lease.id.startswith(PROCESS) and await self.ports.store.environments.get(lease.id) is not None:
            return False
        taken = await self.ports.store.acquire_lease(lease.id, self.ports.process_id, 1.0)
        if taken is not None:
            await self.ports.store.forget_lease(taken)
        return True

    async def unowned(self) -> int:
        """Drive running environments that nobody looks after."""
        await self._count_phases()
        return await self._drive_all_unowned("phase", EnvironmentPhase.RUNNING.value)

    async def _drive_all_unowned(self, index: str, value: Key) -> int:
        found, last = 0, None
        while True:
            page: list[Document] = await self.ports.store.environments.query(index, value, limit=MAX_LIMIT, after=last)
            found += await self._drive_unowned([document["_id"] for document in page])
            if len(page) < MAX_LIMIT:
                return found
            last = page[-1]

    async def _count_phases(self) -> None:
        count = self.ports.store.environments.count
        self.ports.metrics.environments_counted(
            {phase: await count("phase", phase.value) for phase in EnvironmentPhase}
        )

    async def _drive_unowned(self, ids: list[str], *, is_abandoned: bool = False) -> int:
        owned = await self.ports.store.live_leases(ids) if ids else {}
        unowned = [environment_id for environment_id in dict.fromkeys(ids) if environment_id not in owned]
        for environment_id in unowned:
            self.environments.tell(EnvironmentId(environment_id), DriveEnvironment(is_abandoned))
        return len(unowned)

    async def orphans(self) -> int:
        """Remove containers that have had no document at two looks in a row."""
        if not self.owns_runtime:
            return 0
        suspects = {
            environment_id
            for environment_id in await self.ports.runtime.list_environments()
            if await self.ports.store.environments.get(environment_id) is None
        }
        orphans, self._suspects = suspects & self._suspects, suspects
        for environment_id in orphans:
            _LOG.warning("environment %s has no document: its container is removed", environment_id)
            await self.ports.runtime.ensure_deleted(environment_id)
        return len(orphans)

    async def terminals(self) -> int:
        """End the records of terminals whose process is gone."""
        sessions, now = self.ports.store.terminal_sessions, self.ports.clock.now()
        opened = await sessions.query("is_open", True, limit=BATCH)
        processes = {process_lease(document["process_id"]) for document in opened}
        alive = await self.ports.store.live_leases(list(processes)) if processes else {}
        dead = [document for document in opened if process_lease(document["process_id"]) not in alive]
        for document in dead:
            try:
                await sessions.replace({**document, "is_open": False, "seen_at": now, "ended_at": now})
            except (VersionConflictError, MissingDocumentError):
                continue  # somebody else has ended it
        return len(dead)

    async def accounts(self) -> int:
        """Finish removals that a dying process left undone."""
        closed = await self.ports.store.users.query("deletion", lower=_LONG_AGO, limit=BATCH)
        for document in closed:
            await self.removal.finish(UserId(document["_id"]))
        return len(closed)

    async def run(self, sweep: SweepKind) -> None:
        """Look once; a part that does not answer is a reason to look again later, not to stop looking."""
        try:
            found = await getattr(self, sweep.value)()
        except UnavailableError as error:
            _LOG.warning("sweep %s: %s", sweep, error.detail or error.public)
        except Exception:
            _LOG.exception("sweep %s failed", sweep)
        else:
            self.ports.metrics.swept(sweep, found)


def process_lease(process_id: str) -> str:
    """Return the name of the lease that shows that a process lives."""
    return f"{PROCESS}{process_id}"
