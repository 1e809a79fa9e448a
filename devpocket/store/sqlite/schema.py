"""Tables and indexes from the one table; numbered migrations for what is inside the documents.

A document is a BSON blob in ``body``; beside it stand its id and, as real columns, the fields that are
indexed, reported or expire. These columns are derived, so a new row of the table needs no migration: missing tables,
columns (filled from the bodies) and indexes are made at the start, and changed indexes are made anew.
"""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import bson
from bson.codec_options import CodecOptions

from devpocket.errors import ConfigurationError
from devpocket.store.indexes import COLLECTIONS, CollectionSpec, Index
from devpocket.store.port import Document
from devpocket.store.sqlite.file import APPLICATION_ID

Migration = Callable[[sqlite3.Connection], None]

_UTC_AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)


def _mark_as_ours(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


MIGRATIONS: tuple[Migration, ...] = (_mark_as_ours,)
"""Applied in order, each once; the number applied is the file's ``user_version``. Only ever append."""


def prepare(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Bring the file to this version, in one transaction.

    Raises :class:`~devpocket.errors.ConfigurationError` when a newer version has written the file, and
    :class:`sqlite3.Error` when a step fails; then the file is as it was.
    """
    applied = connection.execute("PRAGMA user_version").fetchone()[0]
    if applied > len(migrations):
        raise ConfigurationError(
            f"the database was written by a newer version (format {applied}, this one knows {len(migrations)}); "
            "install that version or restore a backup"
        )
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in migrations[applied:]:
            migration(connection)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        for spec in COLLECTIONS:
            _ensure_table(connection, spec)
            _ensure_indexes(connection, spec)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def columns(spec: CollectionSpec) -> tuple[str, ...]:
    """Return the derived columns of a collection, in a fixed order."""
    fields = [field for index in spec.indexes for field in index.fields]
    expiry = ["expires_at"] if spec.expires else []
    return tuple(dict.fromkeys([*fields, *spec.reported, *expiry]))


def column_value(value: Any) -> Any:
    """Return what a column holds for a field's value: datetimes as milliseconds since 1970."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return value


def encoded(document: Document) -> bytes:
    """Return the blob for a checked document."""
    return bson.encode(document)


def decoded(body: bytes) -> Document:
    """Return the document of a blob, datetimes aware and UTC."""
    return bson.decode(body, codec_options=_UTC_AWARE)


def index_differences(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return one sentence for each index that is missing, differs from the table, or is not in it."""
    present = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
    wanted = dict(pair for spec in COLLECTIONS for pair in _index_statements(spec))
    missing = [f"{name} is missing" for name in wanted if name not in present]
    other = [
        f"{name} is {present[name]!r} and should be {statement!r}"
        for name, statement in wanted.items()
        if present.get(name, statement) != statement
    ]
    unknown = [f"{name} is not in the table" for name in present if name not in wanted]
    return (*missing, *other, *unknown)


def _ensure_table(connection: sqlite3.Connection, spec: CollectionSpec) -> None:
    derived = columns(spec)
    present = {row[1] for row in connection.execute(f'PRAGMA table_info("{spec.name}")')}
    if not present:
        names = "".join(f', "{name}"' for name in derived)
        connection.execute(f'CREATE TABLE "{spec.name}" ("_id" TEXT NOT NULL PRIMARY KEY{names}, "body" BLOB NOT NULL)')
        return
    missing = [name for name in derived if name not in present]
    for name in missing:
        connection.execute(f'ALTER TABLE "{spec.name}" ADD COLUMN "{name}"')
    if missing:
        _fill(connection, spec, missing)


def _fill(connection: sqlite3.Connection, spec: CollectionSpec, names: list[str]) -> None:
    settings = ", ".join(f'"{name}" = ?' for name in names)
    rows = connection.execute(f'SELECT "_id", "body" FROM "{spec.name}"').fetchall()  # noqa: S608 - names are ours
    for document_id, body in rows:
        document = decoded(body)
        values = [column_value(document.get(name)) for name in names]
        connection.execute(f'UPDATE "{spec.name}" SET {settings} WHERE "_id" = ?', (*values, document_id))  # noqa: S608


def _ensure_indexes(connection: sqlite3.Connection, spec: CollectionSpec) -> None:
    for name, statement in _index_statements(spec):
        row = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)).fetchone()
        if row is not None and row[0] == statement:
            continue
        connection.execute(f'DROP INDEX IF EXISTS "{name}"')
        try:
            connection.execute(statement)
        except sqlite3.IntegrityError as error:
            raise ConfigurationError(f"the unique index {name} cannot be made: {error}") from error


def _index_statements(spec: CollectionSpec) -> Iterator[tuple[str, str]]:
    for index in spec.indexes:
        yield f"{spec.name}.{index.name}", _index_statement(spec, index)
    if spec.expires:
        name = f"{spec.name}.expires_at"
        yield name, f'CREATE INDEX "{name}" ON "{spec.name}" ("expires_at") WHERE "expires_at" IS NOT NULL'


def _index_statement(spec: CollectionSpec, index: Index) -> str:
    fields = ", ".join(f'"{field}"' for field in index.fields)
    name = f'"{spec.name}.{index.name}"'
    if not index.unique:
        return f'CREATE INDEX {name} ON "{spec.name}" ({fields}, "_id")'
    present = " AND ".join(f'"{field}" IS NOT NULL' for field in index.fields)
    return f'CREATE UNIQUE INDEX {name} ON "{spec.name}" ({fields}) WHERE {present}'
