"""Those who watch one environment through this process: they are told every event, and what no event told of."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from actors.journal import status_data
from actors.ports import Ports
from devpocket.bus.port import Topic
from devpocket.domain.environments import Environment, EnvironmentPhase
from devpocket.domain.events import EnvironmentEvent, EventKind
from devpocket.ids import EnvironmentId

WATCHED_FOR = timedelta(seconds=25)
"""So long after the last sign of them somebody counts as watching, perhaps in another process."""
SIGN_GRAIN = timedelta(seconds=10)
"""A sign of watching is given at most this often."""


class Watching:
    """The watchers of an environment; every method is called from its actor's handlers alone."""

    def __init__(self, ports: Ports, environment_id: EnvironmentId) -> None:
        self._ports = ports
        self._id = environment_id
        self._watchers: dict[str, Callable[[EnvironmentEvent], None]] = {}
        self._seen_version = 0
        self._shown: tuple[Any, ...] = ()
        self.sign_at: datetime | None = None
        """When somebody was last known to watch, through any process."""

    def __bool__(self) -> bool:
        """Whether anybody watches through this process."""
        return bool(self._watchers)

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches through any process, as far as its bus tells."""
        return self.sign_at is not None and self._ports.clock.now() - self.sign_at < WATCHED_FOR

    def add(self, watcher_id: str, listener: Callable[[EnvironmentEvent], None], environment: Environment) -> None:
        """Call ``listener`` from now on; it has seen ``environment``, which may be news to those who watch already."""
        self.catch_up(environment)
        self._watchers[watcher_id] = listener

    def remove(self, watcher_id: str) -> None:
        """Stop calling."""
        self._watchers.pop(watcher_id, None)

    def tell(self, event: EnvironmentEvent) -> None:
        """Call all with ``event``."""
        if event.kind is EventKind.STATUS:
            self._shown = _shown(event.data)
            version = event.data.get("version")
            self._seen_version = max(self._seen_version, version if isinstance(version, int) else 0)
        for listener in tuple(self._watchers.values()):
            listener(event)

    def catch_up(self, environment: Environment) -> None:
        """Tell of what has changed without an event that told of it."""
        news = status_data(environment)
        if environment.version > self._seen_version and _shown(news) != self._shown:
            self.tell(EnvironmentEvent(self._id, EventKind.STATUS, self._ports.clock.now(), news))
        self._seen_version = max(self._seen_version, environment.version)

    def say_farewell(self) -> None:
        """Tell all that the environment is gone, and forget them."""
        data = {"phase": EnvironmentPhase.DELETED.value, "status": "terminated", "message": "Deleted."}
        self.tell(EnvironmentEvent(self._id, EventKind.STATUS, self._ports.clock.now(), data))
        self._watchers.clear()

    async def give_sign(self) -> None:
        """Tell the owner, wherever it is, that somebody watches."""
        now = self._ports.clock.now()
        if self.sign_at is None or now - self.sign_at >= SIGN_GRAIN:
            self.sign_at = now
            await self._ports.bus.publish(Topic.ENVIRONMENT_WATCHED, {"environment_id": self._id})

    def sign_given(self) -> None:
        """Remember that somebody watches now."""
        self.sign_at = self._ports.clock.now()


def _shown(data: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what of a status event matters to those who watch."""
    return tuple(data.get(name) for name in ("phase", "status", "message", "installation_completed"))
