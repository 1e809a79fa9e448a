"""The slots of a plan: taken before an environment is written down, given back when it goes or was never written."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actors.ports import Ports
from devpocket.domain.environments import Environment
from devpocket.ids import UserId
from devpocket.store.environments import EnvironmentRecords
from devpocket.store.port import MAX_LIMIT, Document

ABANDONED_AFTER = timedelta(minutes=1)
"""A slot without a document is given back after this: the process that took it died in between."""
FIRST_LOOK_BACK = timedelta(hours=1)
"""So far back a new process looks for them; older ones are given back when their user needs them."""
_COUNTER = "environments:"


@dataclass(slots=True)
class Slots:
    """Counts the environments of users, right over all processes."""

    ports: Ports
    _seen_until: datetime | None = field(default=None, init=False)

    async def take(self, environment: Environment, limit: int) -> bool:
        """Take one of the ``limit`` slots of its user; tell whether there was one. Repeating takes no second one."""
        counter, member = _counter(environment.user_id), slot_member(environment)
        if await self.ports.store.reserve(counter, member, limit):
            return True
        return bool(await self.reclaim(environment.user_id)) and await self.ports.store.reserve(counter, member, limit)

    async def give_back(self, environment: Environment) -> None:
        """Free its slot; harmless to repeat."""
        await self.ports.store.release(_counter(environment.user_id), slot_member(environment))

    async def forget(self, user_id: UserId) -> None:
        """Remove the count of a user whose account goes; environments that are still on their way out need none."""
        await self.ports.store.counters.delete(_counter(user_id))

    async def reclaim(self, user_id: UserId) -> int:
        """Give a user's slots back whose document was never written; return how many."""
        alive = await EnvironmentRecords(self.ports.store).of_user(user_id)
        used = {slot_member(each) for each in alive}
        before_ms = _milliseconds(self.ports.clock.now() - ABANDONED_AFTER)
        taken = await self.ports.store.reserved(_counter(user_id))
        abandoned = [each for each in taken - used if int(each.rpartition("@")[2]) < before_ms]
        for member in abandoned:
            await self.ports.store.release(_counter(user_id), member)
        return len(abandoned)

    async def reclaim_all(self) -> int:
        """Do the same for all users who took one since the last look; return how many were given back."""
        until = self.ports.clock.now() - ABANDONED_AFTER
        since = self._seen_until or until - FIRST_LOOK_BACK
        found = 0
        async for counter in self._taken_between(since, until):
            found += await self.reclaim(UserId(counter["_id"].removeprefix(_COUNTER)))
        self._seen_until = until
        return found

    async def _taken_between(self, since: datetime, until: datetime) -> AsyncIterator[Document]:
        query, last = self.ports.store.counters.query, None
        while page := await query("taken_at", lower=since, upper=until, limit=MAX_LIMIT, after=last):
            for counter in page:
                yield counter
            last = page[-1]


def slot_member(environment: Environment) -> str:
    """Return how an environment is written into its user's counter; the time tells an abandoned one."""
    return f"{environment.id}@{_milliseconds(environment.created_at)}"


def _counter(user_id: str) -> str:
    return f"{_COUNTER}{user_id}"


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
