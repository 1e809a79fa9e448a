"""One actor per active environment and process: owns the lease, drives the life cycle, opens and closes terminals.

It holds no policy. What happens next is decided by :mod:`devpocket.domain.lifecycle`, what a command means by
:mod:`devpocket.domain.commands`. Everything it knows is in the store, so it may end at any moment.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from actors.dispatch import Message, handles
from actors.drive import Drive
from actors.driving import slot_member, slots_counter
from actors.environment_queries import EnvironmentQueries
from actors.journal import Journal, status_data
from actors.loop import LoopActor
from actors.messages import (
    AttachTerminal,
    Command,
    CommandEnvironment,
    DetachTerminal,
    EnvironmentMetrics,
    EnvironmentView,
    GetEnvironment,
    GetLogs,
    GetMetrics,
    LogPage,
    NoteActivity,
    UnwatchEnvironment,
    UpdateEnvironment,
    WatchEnvironment,
)
from actors.ports import Ports
from actors.samples import Samples
from actors.terminal_sessions import TerminalSessions
from actors.upkeep import Upkeep
from devpocket.bus.port import Topic
from devpocket.domain import commands
from devpocket.domain.environments import DesiredState, Environment, EnvironmentPhase
from devpocket.domain.events import EnvironmentEvent, EventKind
from devpocket.domain.lifecycle import DesiredChanged, Event, ObserveContainer, RetryDue
from devpocket.errors import DevPocketError, InvalidStateError, NotFoundError, UnavailableError
from devpocket.ids import EnvironmentId, UserId
from devpocket.metrics import SweepKind
from devpocket.runtime.port import Terminal
from devpocket.store.environments import EnvironmentRecords

TICK_S = 2.5
"""How often a change that no event told of is looked for."""
ACTIVITY_GRAIN = timedelta(seconds=10)
"""Typing is written down at most this often."""

_COMMANDS: Mapping[Command, Callable[[Environment, datetime], Environment]] = {
    Command.START: commands.start,
    Command.STOP: commands.stop,
    Command.RESTART: commands.restart,
    Command.RECOVER: commands.recover,
    Command.DELETE: commands.delete,
}


@dataclass(frozen=True, slots=True)
class DriveEnvironment(Message[None]):
    """Take the environment over if nobody holds it, and go on with whatever is to be done."""

    is_abandoned: bool = False
    """Its owner died, perhaps with the last instruction undone: look even at one that is where it should be."""


@dataclass(frozen=True, slots=True)
class EventArrived(Message[None]):
    """Some process, perhaps this one, has announced something."""

    event: EnvironmentEvent


@dataclass(frozen=True, slots=True)
class OperationEnded(Message[None]):
    """The instruction with this serial number has come to its end; None: the environment is forgotten."""

    serial: int
    event: Event | None


@dataclass(frozen=True, slots=True)
class LeaseLost(Message[None]):
    """Another process drives now, or nobody can."""


@dataclass(frozen=True, slots=True)
class Tick(Message[None]):
    """Look around."""

    keeps_awake = False


class EnvironmentActor(LoopActor):
    """The shell around one environment."""

    idle_timeout_s = 120.0
    inbox_limit = 2000

    def __init__(self, environment_id: EnvironmentId, ports: Ports, journal: Journal, samples: Samples) -> None:
        super().__init__()
        self._id = environment_id
        self._ports = ports
        self._journal = journal
        self._records = EnvironmentRecords(ports.store)
        self._queries = EnvironmentQueries(ports, environment_id)
        self._drive = Drive(
            ports,
            journal,
            environment_id,
            start_child=self.start_child,
            ended=lambda serial, event: self.tell_self(OperationEnded(serial, event)),
            lease_lost=lambda: self.tell_self(LeaseLost()),
        )
        self._upkeep = Upkeep(ports, journal, samples)
        self._terminals = TerminalSessions(ports, environment_id)
        self._watchers: dict[str, Callable[[EnvironmentEvent], None]] = {}
        self._seen_version = 0
        self._shown: tuple[Any, ...] = ()
        self._noted_at: datetime | None = None
        self._ticking: asyncio.Task[None] | None = None

    async def on_stop(self) -> None:
        """Hand over: the operation has been cancelled with the other children, the lease is given up."""
        if self._drive.is_owner:
            await self._drive.hand_over()
            await self._ports.bus.publish(Topic.ENVIRONMENT_CHANGED, {"environment_id": self._id})

    # --- what a user asks --------------------------------------------------------------------------------------------

    @handles(GetEnvironment)
    async def get(self, message: GetEnvironment) -> EnvironmentView:
        """Return it with its figures."""
        environment = await self._live(message.user_id)
        return EnvironmentView(environment, await self._upkeep.usage(environment))

    @handles(UpdateEnvironment)
    async def update(self, message: UpdateEnvironment) -> EnvironmentView:
        """Change what is written of it; its owner gives a running one its new limits and variables."""
        await self._live(message.user_id)
        environment = await self._queries.update(message)
        await self._journal.status(environment)
        if environment.is_outdated:
            self.tell_self(DriveEnvironment())
        return EnvironmentView(environment, await self._upkeep.usage(environment))

    @handles(CommandEnvironment)
    async def command(self, message: CommandEnvironment) -> Environment:
        """Write what is wanted and answer; the driving follows."""
        now = self._ports.clock.now()

        def commanded(environment: Environment) -> Environment:
            return _COMMANDS[message.command](_owned_by(environment, message.user_id), now)

        environment = await self._records.change(self._id, commanded)
        if environment.desired is DesiredState.DELETED:
            await self._ports.store.release(slots_counter(environment.user_id), slot_member(environment))
        await self._journal.status(environment)
        self.tell_self(DriveEnvironment())
        return environment

    @handles(GetMetrics)
    async def metrics(self, message: GetMetrics) -> EnvironmentMetrics:
        """Return figures now and then."""
        environment = await self._live(message.user_id)
        return await self._queries.metrics(await self._upkeep.usage(environment), message.hours)

    @handles(GetLogs)
    async def logs(self, message: GetLogs) -> LogPage:
        """Return the newest lines."""
        return await self._queries.logs(await self._live(message.user_id), message)

    @handles(WatchEnvironment)
    async def watch(self, message: WatchEnvironment) -> Environment:
        """Call the listener from now on."""
        environment = await self._live(message.user_id)
        self._watchers[message.watcher_id] = message.listener
        self._shown = self._shown or _shown(status_data(environment))
        self._seen_version = max(self._seen_version, environment.version)
        self._keep_ticking()
        return environment

    @handles(UnwatchEnvironment)
    def unwatch(self, message: UnwatchEnvironment) -> None:
        """Stop calling."""
        self._watchers.pop(message.watcher_id, None)

    @handles(AttachTerminal)
    async def attach(self, message: AttachTerminal) -> Terminal:
        """Attach a tmux client; wake the environment first when it sleeps and its plan says so."""
        environment = await self._live(message.user_id)
        if environment.phase is not EnvironmentPhase.RUNNING or not environment.is_settled:
            await self._wake(environment)
            raise InvalidStateError("The environment does not run.", code="not_running")
        terminal = await self._ports.runtime.attach(self._id, message.size)
        try:
            await self._terminals.opened(message)
        except DevPocketError:
            await terminal.close()
            raise
        await self._note(self._ports.clock.now())
        self._keep_ticking()
        return terminal

    @handles(DetachTerminal)
    async def detach(self, message: DetachTerminal) -> None:
        """Write down that the terminal was closed."""
        await self._terminals.closed(message.attachment_id)

    @handles(NoteActivity)
    async def note_activity(self, message: NoteActivity) -> None:
        """Start the idle clock anew."""
        await self._note(message.at)

    # --- driving -----------------------------------------------------------------------------------------------------

    @handles(DriveEnvironment)
    async def drive(self, message: DriveEnvironment) -> None:
        """Take over what nobody drives; the owner looks whether something else is wanted."""
        try:
            if self._drive.is_owner:
                await self._drive.feed(DesiredChanged())
            else:
                environment = await self._records.get(self._id)
                await self._drive.take_over(environment, is_abandoned=message.is_abandoned)
        except NotFoundError:
            self._end()
        finally:
            if self._drive.is_owner:  # also when the store failed in between: the next tick goes on
                self._keep_ticking()

    @handles(OperationEnded)
    async def operation_ended(self, message: OperationEnded) -> None:
        """Go on with what follows from it."""
        try:
            remains = await self._drive.operation_ended(message.serial, message.event)
        except NotFoundError:
            remains = False
        if not remains:
            self._end()

    @handles(LeaseLost)
    def lease_lost(self, _message: LeaseLost) -> None:
        """Stop driving."""
        self._drive.give_up()

    # --- looking around ----------------------------------------------------------------------------------------------

    @handles(EventArrived)
    async def event_arrived(self, message: EventArrived) -> None:
        """Tell the watchers; as the owner, see whether something else is wanted now."""
        event = message.event
        self._tell_watchers(event)
        if event.kind is EventKind.STATUS:
            version = event.data.get("version")
            self._seen_version = max(self._seen_version, version if isinstance(version, int) else 0)
            if self._drive.is_owner and event.data.get("origin") != self._ports.process_id:
                self.tell_self(DriveEnvironment())

    @handles(Tick)
    async def tick(self, _message: Tick) -> None:
        """Catch up with what no event told of, and look after a running environment."""
        try:
            environment = await self._records.get(self._id)
        except NotFoundError:
            self._end()
            return
        except UnavailableError:
            return  # the store is away; the next tick looks again
        news = status_data(environment)
        if environment.version > self._seen_version and _shown(news) != self._shown:
            now = self._ports.clock.now()
            self._tell_watchers(EnvironmentEvent(self._id, EventKind.STATUS, now, news))
        self._seen_version = max(self._seen_version, environment.version)
        if not self._drive.is_owner or self._drive.is_operating:
            return
        if environment.needs_driving:
            await self._drive.feed(RetryDue())
        elif environment.phase is EnvironmentPhase.RUNNING:
            await self._look_after(environment)

    async def _look_after(self, environment: Environment) -> None:
        reason = await self._upkeep.idle_reason(environment, await self._queries.plan(environment))
        if reason is not None:
            now = self._ports.clock.now()
            await self._records.change(self._id, lambda each: commands.stop(each, now, reason))
            self._ports.metrics.swept(SweepKind.IDLE, 1)
            self.tell_self(DriveEnvironment())
            return
        await self._upkeep.sample(environment, is_watched=bool(self._watchers))
        await self._upkeep.save_terminal(environment)
        self._drive.perform(environment, ObserveContainer())

    async def _wake(self, environment: Environment) -> None:
        """Start an environment that its idleness stopped, when its plan allows that."""
        plan = await self._queries.plan(environment)
        if environment.desired is DesiredState.STOPPED and environment.stop_reason and plan.wake_on_connect:
            now = self._ports.clock.now()
            await self._records.change(self._id, lambda each: commands.start(each, now))
            self.tell_self(DriveEnvironment())

    async def _note(self, at: datetime) -> None:
        if self._noted_at is not None and at - self._noted_at < ACTIVITY_GRAIN:
            return
        self._noted_at = at
        await self._records.change(self._id, lambda each: replace(each, last_accessed_at=at))

    def _tell_watchers(self, event: EnvironmentEvent) -> None:
        if event.kind is EventKind.STATUS:
            self._shown = _shown(event.data)
        for listener in tuple(self._watchers.values()):
            listener(event)

    def _keep_ticking(self) -> None:
        if self._ticking is None or self._ticking.done():
            self._ticking = self.start_child(self._tick(), "tick")

    async def _tick(self) -> None:
        while self._drive.is_owner or self._watchers:
            await asyncio.sleep(TICK_S)
            self.tell_self(Tick())

    async def _live(self, user_id: UserId) -> Environment:
        return _owned_by(await self._records.get(self._id), user_id)

    def _end(self) -> None:
        """It is gone: tell whoever still watches, and stop."""
        now = self._ports.clock.now()
        data = {"phase": EnvironmentPhase.DELETED.value, "status": "terminated", "message": "Deleted."}
        self._tell_watchers(EnvironmentEvent(self._id, EventKind.STATUS, now, data))
        self._watchers.clear()
        self.stop()


def _shown(data: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what of a status event matters to those who watch."""
    return tuple(data.get(name) for name in ("phase", "status", "message", "installation_completed"))


def _owned_by(environment: Environment, user_id: UserId) -> Environment:
    """Return ``environment`` if it is that user's and not being deleted; else there is none."""
    if environment.user_id != user_id or environment.desired is DesiredState.DELETED:
        raise NotFoundError("There is no such environment.")
    return environment
