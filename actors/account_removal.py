"""Removing an account: closed at once, emptied in the background, finished by a sweep if a process dies in between."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from actors.audit import Audit
from actors.codes import Codes
from actors.origin import Origin
from actors.password_change import password_tries
from actors.ports import Ports
from actors.sessions import Sessions
from actors.slots import Slots
from actors.user_records import UserRecords
from devpocket.domain import commands
from devpocket.domain.environments import DesiredState, Environment
from devpocket.errors import NotFoundError
from devpocket.ids import EnvironmentId, UserId
from devpocket.mail.outbox import Outbox
from devpocket.store.environments import EnvironmentRecords


@dataclass(frozen=True, slots=True)
class AccountRemoval:
    """Everything of a user goes; an environment whose runtime is down goes when that is back."""

    ports: Ports
    records: UserRecords
    sessions: Sessions
    codes: Codes
    outbox: Outbox
    audit: Audit
    drive: Callable[[EnvironmentId], None]

    async def begin(self, user_id: UserId, origin: Origin) -> None:
        """Close the account and end its sessions; from here on :meth:`finish` is due."""
        now = self.ports.clock.now()
        await self.records.change(
            user_id, lambda user: replace(user, is_active=False, deletion_requested_at=now, updated_at=now)
        )
        await self.audit.note("account_deleted", origin, user_id=user_id)
        await self.sessions.end_all(user_id)

    async def finish(self, user_id: UserId) -> None:
        """Order the environments to go and remove all else; harmless to repeat. The account itself goes last."""
        store, environments = self.ports.store, EnvironmentRecords(self.ports.store)
        user = await self.records.get(user_id)
        for environment in await environments.all_of_user(user_id):
            await self._delete(environments, environment)
        await self.sessions.end_all(user_id)
        await self.codes.forget_user(user_id)
        await self.ports.store.reset(password_tries(user_id))
        await store.mails.delete_by("user", user_id)
        if user is not None:
            await self.outbox.forget(user.email)
        await store.terminal_sessions.delete_by("user", user_id)
        await self.audit.forget(user_id)
        await Slots(self.ports).forget(user_id)
        await store.users.delete(user_id)

    async def _delete(self, environments: EnvironmentRecords, environment: Environment) -> None:
        now = self.ports.clock.now()
        try:
            if environment.desired is not DesiredState.DELETED:
                await environments.change(environment.id, lambda each: commands.delete(each, now))
        except NotFoundError:
            return
        self.drive(environment.id)
