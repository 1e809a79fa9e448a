"""The end of an environment that nobody uses: a warning to its sockets first, then a stop."""

from datetime import datetime, timedelta

from actors.journal import Journal
from actors.ports import Ports
from devpocket.domain import commands
from devpocket.domain.environments import DesiredState, Environment
from devpocket.domain.events import EventKind
from devpocket.domain.plans import Plan
from devpocket.errors import InvalidStateError
from devpocket.metrics import SweepKind
from devpocket.store.environments import EnvironmentRecords
from devpocket.store.records import user_from_document

LONGEST_WAIT_S = 60.0
"""So soon at the latest a plan that was changed is noticed."""


class Idleness:
    """Watches over one running environment for its owner. Use only makes the time longer, so it is rarely looked."""

    def __init__(self, ports: Ports, journal: Journal) -> None:
        self._ports = ports
        self._journal = journal
        self._records = EnvironmentRecords(ports.store)
        self._look_at: datetime | None = None
        self._warned_since: datetime | None = None
        self.used_at: datetime | None = None
        """When it was used last, as of the last look."""

    async def stop_if_due(self, environment: Environment) -> bool:
        """Ask ``environment`` to stop when its plan's idle time is over, or warn; tell whether it was asked to.

        Raises NotFoundError when it is gone. Costs nothing while it is known that neither can be due.
        """
        now = self._ports.clock.now()
        if self._look_at is not None and now < self._look_at:
            return False
        environment = await self._records.get(environment.id)
        self.used_at = environment.last_accessed_at
        plan = await self._plan(environment)
        if plan.idle_timeout_s is None:
            self._look_at = now + timedelta(seconds=LONGEST_WAIT_S)
            return False
        used_at = max(environment.last_accessed_at or environment.phase_since_at, environment.phase_since_at)
        left_s = plan.idle_timeout_s - (now - used_at).total_seconds()
        if left_s <= 0:
            return await self._stop(environment, f"Stopped after {_spoken(plan.idle_timeout_s)} without use.")
        warning_s = self._ports.settings.ownership.idle_warning_s
        if left_s <= warning_s:
            await self._warn(environment, used_at, left_s)
        next_s = left_s - warning_s if left_s > warning_s else left_s
        self._look_at = now + timedelta(seconds=min(next_s, LONGEST_WAIT_S))
        return False

    async def _plan(self, environment: Environment) -> Plan:
        document = await self._ports.store.users.get(environment.user_id)
        return self._ports.plans.of(user_from_document(document).subscription_plan if document else "")

    async def _warn(self, environment: Environment, used_at: datetime, left_s: float) -> None:
        if self._warned_since == used_at:
            return
        self._warned_since = used_at
        message = f"Nobody has typed here for a while: this environment stops in {_spoken(left_s)}."
        await self._journal.announce(environment.id, EventKind.NOTICE, {"message": message})

    async def _stop(self, idle: Environment, reason: str) -> bool:
        """Ask for the stop, unless somebody has used it or asked for something else at the last moment."""
        now = self._ports.clock.now()

        def stopped(each: Environment) -> Environment:
            return commands.stop(each, now, reason) if each.last_accessed_at == idle.last_accessed_at else each

        try:
            environment = await self._records.change(idle.id, stopped)
        except InvalidStateError:
            return False
        if environment.desired is not DesiredState.STOPPED:
            return False
        self._ports.metrics.swept(SweepKind.IDLE, 1)
        return True


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} seconds"
    return f"{round(seconds / 60)} minutes"
