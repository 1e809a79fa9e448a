"""From ``DATABASE_URL`` to a store: the one place that knows which adapters there are."""

from pathlib import Path

from devpocket.clock import Clock
from devpocket.errors import ConfigurationError
from devpocket.store.mongo.store import MongoStore
from devpocket.store.port import Store
from devpocket.store.sqlite.store import SqliteStore


def open_store(url: str, clock: Clock) -> Store:
    """Return the store for a URL, not yet started.

    ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``mongodb://...`` or ``mongodb+srv://...``. Raises
    :class:`~devpocket.errors.ConfigurationError` for anything else; a password in the URL is never repeated.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme in {"mongodb", "mongodb+srv"}:
        return MongoStore(url, clock)
    if separator and scheme == "sqlite":
        return SqliteStore(_file(rest), clock)
    shown = f"{scheme}://" if separator else "what was given"
    raise ConfigurationError(
        f"DATABASE_URL: {shown} is not a store this server knows; use sqlite:///path, mongodb:// or mongodb+srv://"
    )


def _file(rest: str) -> Path:
    """Return the path: behind the host, which must be empty (as in SQLAlchemy's URLs)."""
    if not rest.startswith("/") or rest == "/" or rest.endswith("/") or ":memory:" in rest:
        raise ConfigurationError(
            "DATABASE_URL: sqlite needs a file, as in sqlite:///devpocket.db or sqlite:////var/..."
        )
    return Path(rest[1:])
