"""Looking for what nobody drives, nobody owns or nobody ended: the safety net under events and leases."""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from actors.account_removal import AccountRemoval
from actors.directory import Directory
from actors.driving import phase_limit_s
from actors.environment_messages import DriveEnvironment, EndPhase
from actors.orphans import Orphans
from actors.ports import Ports
from actors.side_by_side import side_by_side
from actors.slots import Slots
from actors.terminal_sessions import end
from devpocket.domain.environments import EnvironmentPhase
from devpocket.errors import DevPocketError, UnavailableError
from devpocket.ids import EnvironmentId, UserId
from devpocket.metrics import SweepKind
from devpocket.store.port import MAX_LIMIT, Document, Key, Lease

BATCH = 200
LEFT_ALONE = timedelta(seconds=1)
"""Whoever has just been asked for something drives it; so fresh a change needs no help yet."""
OVERDUE_BY_S = 5.0
"""An owner ends a phase by itself at its deadline; so much later it is found not to have done so."""
PROCESS = "process:"
_LONG_AGO = datetime(1970, 1, 2, tzinfo=UTC)
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Sweeps:
    """Each method looks once and returns how many it found; the supervisor calls them on their intervals."""

    ports: Ports
    environments: Directory[EnvironmentId]
    removal: AccountRemoval
    plan_slots: Slots
    owns_runtime: bool = True
    """Whether the runtime's data belongs to this store; else containers without a document are left alone."""
    _overdue: set[tuple[str, datetime]] = field(default_factory=set)
    _orphans: Orphans = field(init=False)

    def __post_init__(self) -> None:
        self._orphans = Orphans(self.ports)

    async def unsettled(self) -> int:
        """Drive environments that are on their way and have no owner, and those whose owner died or left.

        This process's own ones that are on their way are told, too: a command may have come without its event.
        """
        expired = await self.ports.store.expired_leases(MAX_LIMIT)
        useless = await side_by_side(expired, self._forget_if_useless)
        orphaned = [lease.id for lease, is_useless in zip(expired, useless, strict=True) if not is_useless]
        found = self._drive(orphaned, is_abandoned=True)
        async for page in self._pages("settled", False):
            leases = await self.ports.store.live_leases([each["_id"] for each in page])
            before = self.ports.clock.now() - LEFT_ALONE
            waiting = [each["_id"] for each in page if each["_id"] not in leases and each["updated_at"] < before]
            found += self._drive(waiting)
            for lease in leases.values():
                if lease.owner == self.ports.process_id:
                    self.environments.tell_if_alive(EnvironmentId(lease.id), DriveEnvironment())
        return found

    async def _forget_if_useless(self, lease: Lease) -> bool:
        """Remove the lease of a dead process, or of an environment that is gone; tell whether it was one."""
        if not lease.id.startswith(PROCESS) and await self.ports.store.environments.get(lease.id) is not None:
            return False
        taken = await self.ports.store.acquire_lease(lease.id, self.ports.process_id, 1.0)
        if taken is not None:
            await self.ports.store.forget_lease(taken)
        return True

    async def stuck(self) -> int:
        """Have phases ended that have outlived their deadline; each is told and counted once."""
        overdue: set[tuple[str, datetime]] = set()
        async for page in self._pages("settled", False):
            overdue |= {(each["_id"], each["phase_since_at"]) for each in page if self._is_overdue(each)}
        new, self._overdue = overdue - self._overdue, overdue
        for environment_id, since_at in new:
            self.environments.tell_if_alive(EnvironmentId(environment_id), EndPhase(since_at))
        return len(new)

    def _is_overdue(self, document: Document) -> bool:
        limit_s = phase_limit_s(EnvironmentPhase(document["phase"]), self.ports.settings.runtime)
        spent: timedelta = self.ports.clock.now() - document["phase_since_at"]
        return spent.total_seconds() > limit_s + OVERDUE_BY_S

    async def unowned(self) -> int:
        """Drive running environments that nobody looks after, though no lease tells of it. Reads all of them."""
        found = 0
        async for page in self._pages("phase", EnvironmentPhase.RUNNING.value):
            leases = await self.ports.store.live_leases([each["_id"] for each in page])
            found += self._drive([each["_id"] for each in page if each["_id"] not in leases])
        return found

    async def _pages(self, index: str, value: Key) -> AsyncIterator[list[Document]]:
        last: Document | None = None
        while page := await self.ports.store.environments.query(index, value, limit=MAX_LIMIT, after=last):
            yield page
            if len(page) < MAX_LIMIT:
                return
            last = page[-1]

    def _drive(self, ids: Sequence[str], *, is_abandoned: bool = False) -> int:
        for environment_id in ids:
            self.environments.tell(EnvironmentId(environment_id), DriveEnvironment(is_abandoned))
        return len(ids)

    async def count_phases(self) -> None:
        """Count the environments of all processes for the figures."""
        count = self.ports.store.environments.count
        self.ports.metrics.environments_counted(
            {phase: await count("phase", phase.value) for phase in EnvironmentPhase}
        )

    async def orphans(self) -> int:
        """Remove containers without a document, and have those stopped that should not run."""
        if not self.owns_runtime:
            return 0
        removed = await self._orphans.remove()
        return removed + self._drive(await self._orphans.stray(), is_abandoned=True)

    async def slots(self) -> int:
        """Give slots of plans back that were taken for environments which were never written down."""
        return await self.plan_slots.reclaim_all()

    async def terminals(self) -> int:
        """End the records of terminals whose process is gone."""
        sessions, now, found, last = self.ports.store.terminal_sessions, self.ports.clock.now(), 0, None
        while page := await sessions.query("is_open", True, limit=MAX_LIMIT, after=last):
            alive = await self.ports.store.live_leases([*{process_lease(each["process_id"]) for each in page}])
            dead = [each for each in page if process_lease(each["process_id"]) not in alive]
            found += sum(await side_by_side(dead, lambda document: end(sessions, document, now)))
            last = page[-1]
        return found

    async def accounts(self) -> int:
        """Finish removals that a dying process left undone."""
        closed = await self.ports.store.users.query("deletion", lower=_LONG_AGO, limit=BATCH)
        return sum([await self._finish_removal(UserId(document["_id"])) for document in closed])

    async def _finish_removal(self, user_id: UserId) -> bool:
        """Tell whether it could be finished; one that resists must not keep the others."""
        try:
            await self.removal.finish(user_id)
        except DevPocketError as error:
            _LOG.warning("account %s cannot be removed yet: %s", user_id, error.detail or error.public)
            return False
        return True

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
