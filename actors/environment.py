"""One actor per active environment and process: owns the lease, drives the life cycle, opens and closes terminals.

It holds no policy. What happens next is decided by :mod:`devpocket.domain.lifecycle`, what a command means by
:mod:`devpocket.domain.commands`. Everything it knows is in the store, so it may end at any moment.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from actors.dispatch import handles
from actors.drive import Drive
from actors.environment_messages import (
    DriveEnvironment,
    EndPhase,
    EventArrived,
    LeaseLost,
    OperationEnded,
    SomebodyWatches,
    Tick,
)
from actors.environment_queries import EnvironmentQueries
from actors.idleness import Idleness
from actors.journal import Journal
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
from actors.slots import Slots
from actors.terminal_sessions import TerminalSessions
from actors.upkeep import Upkeep
from actors.watching import Watching
from devpocket.bus.port import Topic
from devpocket.domain import commands
from devpocket.domain.environments import DesiredState, Environment, EnvironmentPhase
from devpocket.domain.events import EventKind
from devpocket.domain.instructions import ObserveContainer
from devpocket.domain.lifecycle import DesiredChanged, RetryDue
from devpocket.errors import InvalidStateError, NotFoundError, UnavailableError
from devpocket.ids import EnvironmentId, UserId
from devpocket.runtime.port import Terminal
from devpocket.store.environments import EnvironmentRecords

TICK_S = 2.5
"""How often watchers are told what no event told of, and a running container is looked at."""
ACTIVITY_GRAIN = timedelta(seconds=10)
"""Typing is written down at most this often."""

_LOG = logging.getLogger(__name__)
_COMMANDS: Mapping[Command, Callable[[Environment, datetime], Environment]] = {
    Command.START: commands.start,
    Command.STOP: commands.stop,
    Command.RESTART: commands.restart,
    Command.RECOVER: commands.recover,
    Command.DELETE: commands.delete,
}


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
        self._upkeep = Upkeep(ports, samples)
        self._idleness = Idleness(ports, journal)
        self._terminals = TerminalSessions(ports, environment_id)
        self._watching = Watching(ports, environment_id)
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
        await self._journal.status(environment)
        self.tell_self(DriveEnvironment())
        if environment.desired is DesiredState.DELETED:
            await self._release_slot(environment)
        return environment

    async def _release_slot(self, environment: Environment) -> None:
        """Make room for another one now rather than when everything is removed."""
        try:
            await Slots(self._ports).give_back(environment)
        except UnavailableError as error:  # the deletion is written down and gives it back at its end
            _LOG.info("environment %s: its slot is given back later: %s", self._id, error)

    @handles(GetMetrics)
    async def metrics(self, message: GetMetrics) -> EnvironmentMetrics:
        """Return figures now and then."""
        environment = await self._live(message.user_id)
        await self._watching.give_sign()
        return await self._queries.metrics(await self._upkeep.usage(environment), message.hours)

    @handles(GetLogs)
    async def logs(self, message: GetLogs) -> LogPage:
        """Return the newest lines."""
        return await self._queries.logs(await self._live(message.user_id), message)

    @handles(WatchEnvironment)
    async def watch(self, message: WatchEnvironment) -> Environment:
        """Call the listener from now on."""
        environment = await self._live(message.user_id)
        self._watching.add(message.watcher_id, message.listener, environment)
        self._keep_ticking()
        return environment

    @handles(UnwatchEnvironment)
    def unwatch(self, message: UnwatchEnvironment) -> None:
        """Stop calling."""
        self._watching.remove(message.watcher_id)

    @handles(AttachTerminal)
    async def attach(self, message: AttachTerminal) -> Callable[[], Awaitable[Terminal]]:
        """Let a tmux client be attached; wake the environment first when it sleeps and its plan says so."""
        environment = await self._live(message.user_id)
        if environment.phase is not EnvironmentPhase.RUNNING or not environment.is_settled:
            await self._wake(environment)
            raise InvalidStateError("The environment does not run.", code="not_running")
        await self._terminals.opened(message)
        await self._note(self._ports.clock.now())
        self._keep_ticking()
        return partial(self._terminals.attach, message.size)

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
                await self._drive.feed(DesiredChanged() if self._drive.is_operating else RetryDue())
            else:
                environment = await self._records.get(self._id)
                await self._drive.take_over(environment, is_abandoned=message.is_abandoned)
        except NotFoundError:
            self._end()
        finally:
            if self._drive.is_owner:  # also when the store failed in between: the next tick goes on
                self._keep_ticking()

    @handles(EndPhase)
    async def end_phase(self, message: EndPhase) -> None:
        """Give up what goes on too long."""
        try:
            if self._drive.is_owner:
                await self._drive.end_phase(message.since_at)
        except NotFoundError:
            self._end()

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
        """Stop driving, unless the lease has been taken anew in between."""
        if not self._drive.is_owner:
            self._drive.give_up()

    # --- looking around ----------------------------------------------------------------------------------------------

    @handles(EventArrived)
    async def event_arrived(self, message: EventArrived) -> None:
        """Tell the watchers; as the owner, see whether something else is wanted now."""
        event = message.event
        self._watching.tell(event)
        is_foreign = event.kind is EventKind.STATUS and event.data.get("origin") != self._ports.process_id
        if is_foreign and self._drive.is_owner:
            self.tell_self(DriveEnvironment())

    @handles(SomebodyWatches)
    def somebody_watches(self, _message: SomebodyWatches) -> None:
        """Remember when."""
        self._watching.sign_given()

    @handles(Tick)
    async def tick(self, _message: Tick) -> None:
        """Catch up with what no event told of, and look after a running environment."""
        try:
            if self._watching:
                self._watching.catch_up(await self._records.get(self._id))
                await self._watching.give_sign()
            if self._drive.is_owner and not self._drive.is_operating:
                await self._look_after(self._drive.latest)
        except NotFoundError:
            self._end()
        except UnavailableError:
            return  # the store is away; the next tick looks again

    async def _look_after(self, environment: Environment | None) -> None:
        if environment is None or environment.needs_driving or environment.phase is not EnvironmentPhase.RUNNING:
            await self._drive.feed(RetryDue())  # one at rest too: the store was away when its lease was to be given up
        elif await self._idleness.stop_if_due(environment):
            self.tell_self(DriveEnvironment())
        else:
            await self._upkeep.sample(environment, is_watched=self._watching.is_watched)
            if self._upkeep.is_save_due(self._used_at):
                self.start_child(self._ports.runtime.save_terminal(self._id), "save terminal", keeps_awake=False)
            self._drive.perform(environment, ObserveContainer())

    @property
    def _used_at(self) -> datetime | None:
        """When somebody was last at its terminal; without events, as of the last look for idleness."""
        known = [at for at in (self._watching.sign_at, self._idleness.used_at) if at is not None]
        return max(known, default=None)

    async def _wake(self, environment: Environment) -> None:
        """Start an environment that its idleness stopped, when its plan allows that."""
        plan = await self._queries.plan(environment)
        if not (_sleeps(environment) and plan.wake_on_connect):
            return
        now = self._ports.clock.now()
        await self._records.change(self._id, lambda each: commands.start(each, now) if _sleeps(each) else each)
        self.tell_self(DriveEnvironment())

    async def _note(self, at: datetime) -> None:
        if self._noted_at is not None and at - self._noted_at < ACTIVITY_GRAIN:
            return
        self._noted_at = at
        await self._records.change(self._id, lambda each: replace(each, last_accessed_at=at))

    def _keep_ticking(self) -> None:
        if self._ticking is None or self._ticking.done():
            self._ticking = self.start_child(self._tick(), "tick")

    async def _tick(self) -> None:
        while self._drive.is_owner or self._watching:
            await asyncio.sleep(TICK_S)
            if self.actor_inbox.empty():  # or they would pile up while the store is away
                self.tell_self(Tick())

    async def _live(self, user_id: UserId) -> Environment:
        return _owned_by(await self._records.get(self._id), user_id)

    def _end(self) -> None:
        """It is gone: tell whoever still watches, and stop."""
        self._watching.say_farewell()
        self.stop()


def _owned_by(environment: Environment, user_id: UserId) -> Environment:
    """Return ``environment`` if it is that user's and not being deleted; else there is none."""
    if environment.user_id != user_id or environment.desired is DesiredState.DELETED:
        raise NotFoundError("There is no such environment.")
    return environment


def _sleeps(environment: Environment) -> bool:
    """Tell whether it was stopped because nobody used it."""
    return environment.desired is DesiredState.STOPPED and bool(environment.stop_reason)
