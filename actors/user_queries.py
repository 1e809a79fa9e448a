"""What is asked about a user and needs the store alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from actors.messages import ListEnvironments, UserStats
from actors.ports import Ports
from devpocket.domain.environments import Environment
from devpocket.domain.users import User
from devpocket.ids import UserId
from devpocket.store.environments import EnvironmentRecords


@dataclass(frozen=True, slots=True)
class UserQueries:
    """Reads of one user's things."""

    ports: Ports
    user_id: UserId

    async def environments(self, message: ListEnvironments) -> Sequence[Environment]:
        """Return the user's environments that match, last changed first."""
        matching = [
            each
            for each in await EnvironmentRecords(self.ports.store).of_user(self.user_id)
            if (message.status is None or each.status is message.status)
            and (message.template is None or message.template in (each.template_id, each.template_name))
        ]
        return matching[message.offset : message.offset + message.limit]

    async def stats(self, user: User, active_sessions: int) -> UserStats:
        """Count over the user's environments."""
        environments = await EnvironmentRecords(self.ports.store).of_user(self.user_id)
        now = self.ports.clock.now()
        week, month = now - timedelta(days=7), now - timedelta(days=30)
        return UserStats(
            total_environments=len(environments),
            environments_by_status=Counter(each.status.value for each in environments),
            active_sessions=active_sessions,
            environments_limit=self.ports.plans.of(user.subscription_plan).environments,
            created_last_7_days=sum(each.created_at >= week for each in environments),
            created_last_30_days=sum(each.created_at >= month for each in environments),
            active_last_7_days=sum((each.last_accessed_at or each.created_at) >= week for each in environments),
        )
