"""Containers that should not be there: those without a document, and those that run though they are to be at rest."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.ports import Ports
from actors.side_by_side import side_by_side
from devpocket.domain.environments import EnvironmentPhase
from devpocket.errors import DevPocketError
from devpocket.ids import EnvironmentId
from devpocket.runtime.port import ContainerState
from devpocket.store.port import MAX_LIMIT, Document

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Orphans:
    """Compares what the runtime holds with what the store says."""

    ports: Ports
    _suspects: set[EnvironmentId] = field(default_factory=set)

    async def remove(self) -> int:
        """Remove containers that have had no document at two looks in a row; return how many.

        A document goes last of all, so that one without is an orphan whoever holds a lease of it.
        """
        documents = await self._documents()
        suspects = {environment_id for environment_id, document in documents.items() if document is None}
        orphans, self._suspects = suspects & self._suspects, suspects
        return sum(await side_by_side(sorted(orphans), self._remove))

    async def stray(self) -> Sequence[EnvironmentId]:
        """Return the environments that are to be at rest, with nobody driving them, and whose container runs."""
        documents = await self._documents()
        at_rest = [environment_id for environment_id, document in documents.items() if document and _rests(document)]
        unowned = await self._unowned(at_rest)
        states = await side_by_side(unowned, self.ports.runtime.observe)
        return [each for each, state in zip(unowned, states, strict=True) if state is ContainerState.RUNNING]

    async def _documents(self) -> dict[EnvironmentId, Document | None]:
        """Return the documents of those that the runtime holds."""
        held = await self.ports.runtime.list_environments()
        return dict(zip(held, await side_by_side(held, self.ports.store.environments.get), strict=True))

    async def _unowned(self, ids: list[EnvironmentId]) -> list[EnvironmentId]:
        owned: set[str] = set()
        for start in range(0, len(ids), MAX_LIMIT):
            owned |= (await self.ports.store.live_leases(list(ids[start : start + MAX_LIMIT]))).keys()
        return [environment_id for environment_id in ids if environment_id not in owned]

    async def _remove(self, environment_id: EnvironmentId) -> bool:
        """Tell whether it could be removed; one that resists must not keep the others."""
        _LOG.warning("environment %s has no document: its container is removed", environment_id)
        try:
            await self.ports.runtime.ensure_deleted(environment_id)
        except DevPocketError as error:
            _LOG.warning("environment %s cannot be removed: %s", environment_id, error.detail or error.public)
            return False
        return True


def _rests(document: Document) -> bool:
    return bool(document["settled"]) and document["phase"] != EnvironmentPhase.RUNNING.value
