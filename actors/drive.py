"""Drives one environment: holds the lease, decides, writes under the fence, performs, one operation at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Protocol

from actors.driving import Driving
from actors.journal import Journal
from actors.ownership import Ownership
from actors.ports import Ports
from devpocket.domain.environments import Environment, EnvironmentPhase
from devpocket.domain.instructions import Instruction
from devpocket.domain.lifecycle import ContainerObserved, DeadlinePassed, Event, OwnershipTaken, decide
from devpocket.errors import NotFoundError, UnavailableError
from devpocket.ids import EnvironmentId
from devpocket.store.environments import EnvironmentRecords
from devpocket.store.errors import StaleFenceError

TELL_AGAIN_S = 1.0
"""An outcome that the actor could not take, having too much to do, is told again after this."""
_KEPT = (EnvironmentPhase.RUNNING, EnvironmentPhase.DELETED)
"""Phases at rest whose lease is kept: one is looked after, the other's is removed with the environment."""


class StartChild(Protocol):
    """Runs a coroutine in a task that the actor owns."""

    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]": ...


class Drive:
    """The driving part of an environment's actor; every method is called from that actor's handlers alone."""

    def __init__(
        self,
        ports: Ports,
        journal: Journal,
        environment_id: EnvironmentId,
        *,
        start_child: StartChild,
        ended: Callable[[int, Event | None], None],
        lease_lost: Callable[[], None],
    ) -> None:
        self._ports = ports
        self._journal = journal
        self._id = environment_id
        self._records = EnvironmentRecords(ports.store)
        self._driving = Driving(ports, journal)
        self._ownership = Ownership(ports, environment_id)
        self._start_child = start_child
        self._ended = ended
        self._lease_lost = lease_lost
        self._operation: asyncio.Task[None] | None = None
        self._instruction: Instruction | None = None
        self._serial = 0
        self.latest: Environment | None = None
        """As it was written or read last; commands of others make it old."""

    @property
    def is_owner(self) -> bool:
        """Whether this process holds the lease, as far as it knows."""
        return self._ownership.lease is not None

    @property
    def is_operating(self) -> bool:
        """Whether an instruction is being performed."""
        return self._operation is not None

    async def take_over(self, environment: Environment, *, is_abandoned: bool) -> bool:
        """Become the owner where there is something to drive and nobody else does; tell whether this is one now."""
        is_at_rest = environment.is_settled and environment.phase is not EnvironmentPhase.RUNNING
        if is_at_rest and not is_abandoned:
            return False
        lease = await self._ownership.acquire()
        if lease is None:
            return False
        self.latest = None  # another owner may have written since
        self._start_child(self._ownership.keep(lease, self._lease_lost), "keep lease")
        await self.feed(OwnershipTaken())
        return self.is_owner

    async def feed(self, event: Event) -> None:
        """Decide about ``event``, write the outcome under this owner's fence, and begin what follows.

        Raises NotFoundError when the environment is gone. Does nothing for one that is not the owner.
        """
        lease = self._ownership.lease
        if lease is None:
            return
        instructions: tuple[Instruction, ...] = ()
        before: Environment | None = None
        now = self._ports.clock.now()

        def decided(environment: Environment) -> Environment:
            nonlocal instructions, before
            before = environment
            changed, instructions = decide(environment, event, now)
            return changed

        try:
            after = await self._records.change(self._id, decided, fence=lease.fence)
        except StaleFenceError:
            self.give_up()
            return
        except NotFoundError:
            self.give_up()
            raise
        self.latest = after
        for instruction in instructions:
            self.perform(after, instruction)
        if before is not None and (before.phase, before.message) != (after.phase, after.message):
            self._ports.metrics.phase_changed(before.phase, after.phase)
            await self._journal.phase_changed(after)
        if not self.is_operating and after.is_settled and after.phase not in _KEPT:
            await self._ownership.release()

    async def end_phase(self, since_at: datetime) -> None:
        """Go on to what follows a deadline that has passed, if it still is in the phase that began at ``since_at``."""
        if (await self._records.get(self._id)).phase_since_at == since_at:
            self._instruction = None  # doing the same again counts as something else
            await self.feed(DeadlinePassed())

    def perform(self, environment: Environment, instruction: Instruction) -> None:
        """Begin ``instruction`` in a child task; another one that is under way is given up first."""
        if self.is_operating and instruction == self._instruction:
            return
        former = self._stop_operation()
        self._instruction = instruction
        operation = self._operate(self._serial, environment, instruction, former)
        self._operation = self._start_child(operation, type(instruction).__name__)

    async def operation_ended(self, serial: int, event: Event | None) -> bool:
        """Feed the outcome in, unless that operation was given up; False when the environment is forgotten."""
        if serial != self._serial:
            return True
        self._operation = None
        if event is None:
            self._ownership.forget()
            return False
        if not (event == ContainerObserved(running=True) and self._is_steady):
            await self.feed(event)
        return True

    @property
    def _is_steady(self) -> bool:
        latest = self.latest
        return latest is not None and latest.phase is EnvironmentPhase.RUNNING and not latest.needs_driving

    def give_up(self) -> None:
        """Stop driving at once, without writing anything more: somebody else does."""
        self._ownership.forget()
        self._stop_operation()

    async def hand_over(self) -> None:
        """Give the lease up for another process to take at once, or to remove when the environment is gone."""
        await self._ownership.hand_over()

    async def _operate(
        self, serial: int, environment: Environment, instruction: Instruction, former: "asyncio.Task[None] | None"
    ) -> None:
        if former is not None:
            await asyncio.wait([former])
        lease = self._ownership.lease
        if lease is None or self._ownership.has_run_out:
            return
        outcome = await self._driving.perform(environment, instruction, lease)
        while serial == self._serial:
            try:
                self._ended(serial, outcome)
            except UnavailableError:  # overrun; without this outcome nothing would ever follow
                await asyncio.sleep(TELL_AGAIN_S)
            else:
                return

    def _stop_operation(self) -> "asyncio.Task[None] | None":
        self._serial += 1
        former, self._operation = self._operation, None
        if former is not None:
            former.cancel()
        return former
