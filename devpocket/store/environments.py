"""Environments as records: read, decide, compare and set."""

from collections.abc import Callable, Sequence

from devpocket.domain.environments import DesiredState, Environment
from devpocket.errors import NotFoundError, UnavailableError
from devpocket.ids import EnvironmentId, UserId
from devpocket.store.errors import MissingDocumentError, VersionConflictError
from devpocket.store.port import MAX_LIMIT, Store
from devpocket.store.records import environment_from_document, environment_to_document

MAXIMUM_TRIES = 25
"""Compare-and-set rounds before a change is refused; each lost round means that somebody else made progress."""


class EnvironmentRecords:
    """The environments of a store, typed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def insert(self, environment: Environment) -> None:
        """Store a new one; DuplicateKeyError when its user has a live one of that name."""
        await self._store.environments.insert(environment_to_document(environment))

    async def get(self, environment_id: EnvironmentId) -> Environment:
        """Return it; NotFoundError when there is none."""
        document = await self._store.environments.get(environment_id)
        if document is None:
            raise NotFoundError("There is no such environment.")
        return environment_from_document(document)

    async def change(
        self,
        environment_id: EnvironmentId,
        decide: Callable[[Environment], Environment],
        *,
        fence: int | None = None,
    ) -> Environment:
        """Store what ``decide`` makes of the present one and return it; ``decide`` may be called several times.

        NotFoundError when it is gone, StaleFenceError when ``fence`` is older than that of the last owner that wrote.
        """
        for _ in range(MAXIMUM_TRIES):
            environment = await self.get(environment_id)
            changed = decide(environment)
            if changed == environment and fence in (None, environment.fence):
                return environment
            try:
                stored = await self._store.environments.replace(environment_to_document(changed), fence=fence)
            except VersionConflictError:
                continue
            except MissingDocumentError as error:
                raise NotFoundError("There is no such environment.") from error
            return environment_from_document(stored)
        raise UnavailableError("The environment is busy; try again.", retry_after_s=1)

    async def of_user(self, user_id: UserId) -> Sequence[Environment]:
        """Return all of a user that are not being deleted, last changed first."""
        return [each for each in await self.all_of_user(user_id) if each.desired is not DesiredState.DELETED]

    async def all_of_user(self, user_id: UserId) -> Sequence[Environment]:
        """Return all of a user, those being deleted included, last changed first; at most 1000."""
        documents = await self._store.environments.query("user_updated", user_id, descending=True, limit=MAX_LIMIT)
        return [environment_from_document(document) for document in documents]
