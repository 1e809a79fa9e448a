"""Looking at the file from outside: nothing is locked, made or mended."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from devpocket.store.errors import StoreCorruptError
from devpocket.store.port import StoreHealth, StoreInspection
from devpocket.store.sqlite.file import is_locked, refuse_foreign
from devpocket.store.sqlite.schema import index_differences


def inspect_file(path: Path, migrations: int) -> StoreInspection:
    """Compare the file with the table; one that a server has open, or that is not there yet, is a note.

    Raises :class:`~devpocket.store.errors.StoreCorruptError` for a file that is not ours or cannot be read.
    """
    began = time.perf_counter()
    differences, notes = _compared(path, migrations)
    health = StoreHealth("sqlite", sqlite3.sqlite_version, time.perf_counter() - began)
    return StoreInspection(health, differences, notes)


def _compared(path: Path, migrations: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return differences and notes."""
    if not path.exists():
        return (), (f"{path} is not there yet; the first start makes it",)
    try:
        with closing(sqlite3.connect(_address(path), uri=True, timeout=0)) as connection:
            refuse_foreign(connection, path)
            applied = connection.execute("PRAGMA user_version").fetchone()[0]
            if applied > migrations:
                return (f"{path} was written by a newer version (format {applied}, this one knows {migrations})",), ()
            if applied < migrations:
                return (), (f"{path} has format {applied}; the next start brings it to {migrations}",)
            return index_differences(connection), ()
    except sqlite3.Error as error:
        if is_locked(error):
            return (), (f"{path} is in use; whoever serves from it has brought its indexes to the table",)
        raise StoreCorruptError(f"{path} cannot be read or is not an SQLite database: {error}") from error


def _address(path: Path) -> str:
    """Return the URI of the file for reading (https://www.sqlite.org/uri.html).

    Without a log beside it nobody has it open, and saying so keeps SQLite from making one.
    """
    is_closed = not path.with_name(f"{path.name}-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_closed else ''}"
