"""The terminal's WebSocket; docs/websocket.md says what is on the wire."""

import asyncio
from datetime import timedelta

import structlog

from actors.messages import AttachTerminal, DetachTerminal, GetEnvironment, NoteActivity, SocketKind
from devpocket.domain.environments import Environment, EnvironmentStatus
from devpocket.domain.events import EventKind
from devpocket.domain.limits import BucketRule, TokenBucket, charge
from devpocket.domain.terminals import TerminalSize
from devpocket.errors import DevPocketError
from devpocket.ids import new_id
from devpocket.metrics import Direction, LimitKind
from devpocket.runtime.port import Terminal
from devpocket.schemas.wire import wire_time
from handlers.announcements import announcement, status_update, welcome
from handlers.client_messages import Input, Resize, read_message
from handlers.paths import Route
from handlers.sockets import SocketHandler
from handlers.terminal_session import TerminalSession

log = structlog.get_logger("devpocket.terminals")

ACTIVITY_EVERY = timedelta(seconds=5)


class TerminalHandler(SocketHandler):
    """One client of an environment's tmux session."""

    kind = SocketKind.TERMINAL

    def initialize(self, route: str) -> None:
        """Begin without a session."""
        super().initialize(route)
        self._session: TerminalSession | None = None
        self._attachments: dict[int, str] = {}
        self._messages: TokenBucket | None = None
        self._noted_at = self.backend.clock.now() - ACTIVITY_EVERY

    async def serve(self) -> None:
        """Greet, then print and type until the client or the environment is gone."""
        limits = self.backend.settings.limits
        rule = BucketRule(limits.terminal_input_burst_bytes, limits.terminal_input_rate_bytes)
        # Before the welcome: the app answers it at once, while this still waits for the kernel to take it.
        self._session = TerminalSession(self, self.environment, rule)
        await self.send(welcome(self.environment))
        if self.environment.status is not EnvironmentStatus.RUNNING:
            await self.send(status_update(self.environment, wire_time(self.backend.clock.now())))
        await self.run_together(self._session.run(), self._forward())

    async def receive(self, message: str) -> None:
        """Type, resize or answer a ping; a fast sender is slowed by being answered late."""
        await self._pace()
        said = read_message(message)
        if isinstance(said, Input):
            await self._session_now().type(said.data)
        elif isinstance(said, Resize):
            await self._session_now().resize(said.size)
        else:
            await self.send({"type": "pong"})

    def _session_now(self) -> TerminalSession:
        assert self._session is not None  # noqa: S101 - messages wait until the socket is admitted
        return self._session

    async def _pace(self) -> None:
        limits, loop = self.backend.settings.limits, asyncio.get_running_loop()
        rule = BucketRule(limits.terminal_message_burst, limits.terminal_message_rate)
        self._messages, taken = charge(rule, self._messages, loop.time(), 1)
        if taken.retry_after_s:
            self.note_slowing()
            await self.until_gone(taken.retry_after_s)

    async def _forward(self) -> None:
        """Tell the client what is announced of its environment."""
        while True:
            event = await self.events.get()
            message = announcement(event)
            if message is not None:
                await self.send(message)
            if event.kind is EventKind.STATUS:
                self._session_now().environment_changed()

    # --- what the session needs --------------------------------------------------------------------------------------

    async def attach_terminal(self, size: TerminalSize | None) -> Terminal:
        """Attach a tmux client of this socket's own. Cancelling leaves none."""
        attachment_id, user_id = new_id(), self.caller.user.id
        message = AttachTerminal(user_id, attachment_id, size, self.caller.address, self.caller.device)
        try:
            attach = await self.backend.environments.ask(self.environment.id, message)
            terminal = await attach()
        except BaseException:
            self._tell(self.backend.environments, self.environment.id, DetachTerminal(attachment_id))
            raise
        self._attachments[id(terminal)] = attachment_id
        return terminal

    async def release_terminal(self, terminal: Terminal) -> None:
        """End the tmux client and say so."""
        attachment_id = self._attachments.pop(id(terminal), "")
        await self.sockets.may_detach()
        try:
            await terminal.close()
        except (DevPocketError, OSError) as error:
            log.warning("terminal not detached", environment=self.environment.id, reason=str(error))
        self._tell(self.backend.environments, self.environment.id, DetachTerminal(attachment_id))

    async def look(self) -> Environment:
        """Return the environment as it is now."""
        view = await self.backend.environments.ask(self.environment.id, GetEnvironment(self.caller.user.id))
        return view.environment

    def note_typing(self, amount_bytes: int) -> None:
        """Count, and start the idle clock anew every few seconds."""
        self.backend.metrics.terminal_bytes(Direction.IN, amount_bytes)
        now = self.backend.clock.now()
        if now - self._noted_at >= ACTIVITY_EVERY:
            self._noted_at = now
            self._tell(self.backend.environments, self.environment.id, NoteActivity(now))

    def note_printing(self, amount_bytes: int) -> None:
        """Count."""
        self.backend.metrics.terminal_bytes(Direction.OUT, amount_bytes)

    def note_slowing(self) -> None:
        """Count."""
        self.backend.metrics.limit_refused(LimitKind.TERMINAL_INPUT)


ROUTES = (Route("/api/v1/ws/terminal/{environment_id}", TerminalHandler),)
