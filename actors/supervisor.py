"""Start order, stop tiers, and the tasks of a process: reads like a table of contents."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

from actors.directory import Directory
from actors.environment_messages import DriveEnvironment, EventArrived, SomebodyWatches
from actors.journal import event_from_bus
from actors.ports import Ports
from actors.samples import WRITE_INTERVAL_S, Samples
from actors.sweeps import Sweeps, process_lease
from actors.user import ForgetCached, SessionEnded
from devpocket.bus.port import Subscription, Topic
from devpocket.errors import UnavailableError
from devpocket.ids import EnvironmentId, SessionId, UserId
from devpocket.metrics import SweepKind

COUNT_INTERVAL_S = 10.0
STUCK_INTERVAL_S = 10.0

_LOG = logging.getLogger(__name__)


class Supervisor:
    """Owns the tasks of a process that belong to no single actor."""

    def __init__(
        self,
        ports: Ports,
        users: Directory[UserId],
        environments: Directory[EnvironmentId],
        samples: Samples,
        sweeps: Sweeps,
    ) -> None:
        self._ports = ports
        self._users = users
        self._environments = environments
        self._samples = samples
        self._sweeps = sweeps
        self._subscription: Subscription | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen, then look for what a dead process left undone, then keep looking."""
        self._subscription = self._ports.bus.subscribe(self._heard, self._missed)
        settings = self._ports.settings.ownership
        intervals_s = {
            SweepKind.UNSETTLED: settings.sweep_interval_s,
            SweepKind.UNOWNED: settings.orphan_sweep_interval_s,
            SweepKind.STUCK: max(STUCK_INTERVAL_S, settings.sweep_interval_s),
            SweepKind.ORPHANS: settings.orphan_sweep_interval_s,
            SweepKind.SLOTS: settings.orphan_sweep_interval_s,
            SweepKind.TERMINALS: settings.orphan_sweep_interval_s,
            SweepKind.ACCOUNTS: settings.orphan_sweep_interval_s,
        }
        for sweep, interval_s in intervals_s.items():
            self._begin(f"sweep {sweep}", interval_s, partial(self._sweeps.run, sweep))
        self._begin("count environments", COUNT_INTERVAL_S, self._sweeps.count_phases)
        self._begin("write samples", WRITE_INTERVAL_S, self._samples.flush)
        self._begin("show life", settings.lease_ttl_s / 3, self._show_life)

    async def stop(self, deadline_s: float) -> None:
        """Stop listening and looking; then environments hand over, users end, and what has gathered is written."""
        if self._subscription is not None:
            self._subscription.close()
        for task in self._tasks:
            task.cancel()
        await self._environments.stop_all(deadline_s)  # first of all, since others wait for what is handed over
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=deadline_s / 2)
        await self._users.stop_all(deadline_s / 2)
        try:
            async with asyncio.timeout(deadline_s / 2):
                await self._samples.flush()
                await self._say_farewell()
        except (UnavailableError, TimeoutError):
            _LOG.warning("the store does not answer: samples are given up, the sign of life runs out by itself")

    def _begin(self, name: str, interval_s: float, work: Callable[[], Awaitable[object]]) -> None:
        self._tasks.append(asyncio.create_task(self._repeat(name, interval_s, work), name=name))

    async def _repeat(self, name: str, interval_s: float, work: Callable[[], Awaitable[object]]) -> None:
        """Do ``work`` for ever: whatever it raises is a reason to try again later, not to stop trying."""
        while True:
            try:
                await work()
            except UnavailableError as error:
                _LOG.warning("%s: the store does not answer: %s", name, error.detail or error.public)
            except Exception:
                _LOG.exception("%s failed", name)
            await asyncio.sleep(interval_s)

    async def _show_life(self) -> None:
        """Hold the lease by which other processes see that this one lives."""
        settings = self._ports.settings.ownership
        await self._ports.store.acquire_lease(self._lease_id, self._ports.process_id, settings.lease_ttl_s)

    async def _say_farewell(self) -> None:
        live = await self._ports.store.live_leases([self._lease_id])
        for lease in live.values():
            await self._ports.store.forget_lease(lease)

    @property
    def _lease_id(self) -> str:
        return process_lease(self._ports.process_id)

    def _heard(self, topic: str, event: Any) -> None:
        """Lead an event to the actors it concerns, as far as there are any here."""
        lead = self._leads().get(topic)
        if lead is None:
            return
        try:
            lead(event)
        except (KeyError, ValueError, TypeError):
            _LOG.warning("an event on %s has a shape that is not understood", topic)
        except UnavailableError as error:
            _LOG.warning("an event on %s is dropped: %s", topic, error)

    def _leads(self) -> dict[str, Callable[[Any], object]]:
        return {
            Topic.ENVIRONMENT_EVENT: self._lead_environment_event,
            Topic.ENVIRONMENT_CHANGED: lambda event: self._environments.tell(
                EnvironmentId(event["environment_id"]), DriveEnvironment()
            ),
            Topic.ENVIRONMENT_WATCHED: lambda event: self._environments.tell_if_alive(
                EnvironmentId(event["environment_id"]), SomebodyWatches()
            ),
            Topic.SESSION_ENDED: lambda event: self._users.tell_if_alive(
                UserId(event["user_id"]), SessionEnded(SessionId(event["session_id"]))
            ),
            Topic.USER_CHANGED: lambda event: self._users.tell_if_alive(UserId(event["user_id"]), ForgetCached()),
        }

    def _lead_environment_event(self, event: Any) -> None:
        arrived = event_from_bus(event, datetime.fromisoformat(event["at"]))
        if arrived is not None:
            self._environments.tell_if_alive(arrived.environment_id, EventArrived(arrived))

    def _missed(self) -> None:
        """Events were lost: whoever caches reads anew; environments look by themselves within seconds."""
        for user_id in self._users.keys():  # noqa: SIM118 - a directory is no mapping
            self._users.tell_if_alive(user_id, ForgetCached())
