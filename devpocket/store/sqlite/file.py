"""Opening the file: private, exclusive, durable, and ours; anything else is one clear line."""

import os
import sqlite3
from pathlib import Path

from devpocket.errors import ConfigurationError
from devpocket.store.errors import StoreCorruptError, StoreLockedError

APPLICATION_ID = 0x44657650
"""``DevP``: written into the file's header, so that somebody else's SQLite file is never taken for ours."""

_LOCK_WAIT_S = 1.0
"""How long to wait for the lock: enough for a predecessor that is just closing."""


def open_file(path: Path) -> sqlite3.Connection:
    """Open or create the file (mode 0600, its directory 0700) and take the exclusive lock.

    The connection commits by hand, keeps a write-ahead log and waits for the disk at each commit
    (https://www.sqlite.org/pragma.html, ``locking_mode``, ``journal_mode``, ``synchronous``).

    Raises :class:`~devpocket.errors.ConfigurationError` or one of its kinds in :mod:`devpocket.store.errors`.
    """
    _create(path)
    # One thread uses it; which one is the worker's business.
    connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None, cached_statements=256)
    try:
        _set_up(connection, path)
    except sqlite3.OperationalError as error:
        connection.close()
        if is_locked(error):
            raise StoreLockedError(
                f"{path} is in use by another process: stop that one first; "
                "SQLite serves one process, to run several set DATABASE_URL to a MongoDB (mongodb://...)"
            ) from None
        raise ConfigurationError(f"{path} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreCorruptError(f"{path} is damaged or not an SQLite database: {error}") from error
    except ConfigurationError:
        connection.close()
        raise
    return connection


def is_locked(error: sqlite3.Error) -> bool:
    """Tell whether another process has the lock."""
    return error.sqlite_errorcode in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _create(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        raise ConfigurationError(f"{path} cannot be made: {path.parent.parent} is not a directory") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be opened for writing: {error.strerror}") from error


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # before the log is opened: then no shared memory is needed
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("PRAGMA cache_size = -32768")  # 32 MB: the upper levels of all indexes stay in memory
    connection.execute("BEGIN IMMEDIATE")  # takes the lock now, not with the first request
    connection.execute("COMMIT")
    refuse_foreign(connection, path)


def refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreCorruptError for somebody else's database; an empty one may become ours."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application_id != APPLICATION_ID and (application_id or tables):
        raise StoreCorruptError(f"{path} is an SQLite database of another program")
