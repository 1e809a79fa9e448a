"""One collection as a table: plain functions over the connection, called on the worker's thread inside a job."""

import sqlite3
from collections.abc import Sequence

from devpocket.store.errors import DuplicateKeyError, MissingDocumentError, StaleFenceError, VersionConflictError
from devpocket.store.indexes import CollectionSpec
from devpocket.store.port import Document
from devpocket.store.selection import Page, Selection
from devpocket.store.sqlite import statements
from devpocket.store.sqlite.schema import column_value, columns, decoded, encoded

_BATCH = 500
"""Rows removed in one job: some milliseconds, so that others are not held up."""


class Table:
    """The statements of one collection; ``now_ms`` decides what has expired."""

    def __init__(self, spec: CollectionSpec) -> None:
        self.spec = spec
        self._columns = columns(spec)
        self._constraints = {
            ", ".join(f"{spec.name}.{field}" for field in index.fields): index.name
            for index in spec.indexes
            if index.unique
        }
        names = "".join(f', "{name}"' for name in self._columns)
        marks = ", ?" * len(self._columns)
        settings = "".join(f', "{name}" = ?' for name in self._columns)
        # S608: the names in these statements come from the one table of collections, never from outside.
        self._insert_sql = f'INSERT INTO "{spec.name}" ("_id", "body"{names}) VALUES (?, ?{marks})'  # noqa: S608
        self._update_sql = f'UPDATE "{spec.name}" SET "body" = ?{settings} WHERE "_id" = ?'  # noqa: S608
        self._select_sql = f'SELECT "body" FROM "{spec.name}" WHERE '  # noqa: S608
        self._count_sql = f'SELECT count(*) FROM "{spec.name}" WHERE '  # noqa: S608
        self._delete_sql = f'DELETE FROM "{spec.name}" WHERE '  # noqa: S608
        self._in_batch = f'"_id" IN (SELECT "_id" FROM "{spec.name}" WHERE {{}} LIMIT {_BATCH})'  # noqa: S608
        self._live_sql = f" AND {statements.LIVE}" if spec.expires else ""

    def get(self, connection: sqlite3.Connection, document_id: str, now_ms: int) -> Document | None:
        """Return the live document of that id."""
        values = (document_id, now_ms) if self._live_sql else (document_id,)
        row = connection.execute(f'{self._select_sql} "_id" = ?{self._live_sql}', values).fetchone()
        return None if row is None else decoded(row[0])

    def find(self, connection: sqlite3.Connection, selection: Selection, page: Page, now_ms: int) -> list[Document]:
        """Return one page of live documents."""
        found: list[Document] = []
        for tail, values in statements.pages(selection, page, self._now(now_ms)):
            if missing := page.limit - len(found):
                rows = connection.execute(self._select_sql + tail, (*values, missing))
                found += [decoded(row[0]) for row in rows]
        return found

    def count(self, connection: sqlite3.Connection, selection: Selection, now_ms: int) -> int:
        """Count live documents."""
        condition, values = statements.where(selection, self._now(now_ms))
        number: int = connection.execute(self._count_sql + condition, values).fetchone()[0]
        return number

    def insert(self, connection: sqlite3.Connection, document: Document, now_ms: int) -> None:
        """Insert a checked document; what stands in its way but has expired is removed first."""
        self._write(connection, self._insert_sql, (document["_id"], *self._row(document)), document, now_ms)

    def insert_many(self, connection: sqlite3.Connection, documents: Sequence[Document], now_ms: int) -> str | None:
        """Insert what can be inserted; return the index that refused one, if any did."""
        refused = None
        for document in documents:
            try:
                self.insert(connection, document, now_ms)
            except DuplicateKeyError as error:
                refused = error.index
        return refused

    def put(self, connection: sqlite3.Connection, document: Document, now_ms: int) -> bool:
        """Overwrite the row of a checked document; ``False`` if there is none."""
        return self._write(connection, self._update_sql, (*self._row(document), document["_id"]), document, now_ms)

    def replace(
        self, connection: sqlite3.Connection, document: Document, expected: int, fence: int | None, now_ms: int
    ) -> None:
        """Compare the stored version (and fence) and put the document in its place."""
        document_id = document["_id"]
        stored = self.get(connection, document_id, now_ms)
        if stored is None:
            raise MissingDocumentError(self.spec.name, document_id)
        if fence is not None and (stored.get("fence") or 0) > fence:
            raise StaleFenceError(self.spec.name, document_id, fence)
        if stored["version"] != expected:
            raise VersionConflictError(self.spec.name, document_id, expected)
        self.put(connection, document, now_ms)

    def delete(self, connection: sqlite3.Connection, document_id: str, now_ms: int) -> bool:
        """Remove a document; an expired one does not count."""
        was_live = self.get(connection, document_id, now_ms) is not None
        connection.execute(f'{self._delete_sql} "_id" = ?', (document_id,))
        return was_live

    def delete_batch(self, connection: sqlite3.Connection, selection: Selection, now_ms: int) -> int:
        """Remove some of the selected live documents; zero means that none are left."""
        condition, values = statements.where(selection, self._now(now_ms))
        return connection.execute(self._delete_sql + self._in_batch.format(condition), values).rowcount

    def sweep_batch(self, connection: sqlite3.Connection, now_ms: int) -> int:
        """Remove some expired documents; zero means that none are left."""
        return connection.execute(self._delete_sql + self._in_batch.format('"expires_at" <= ?'), (now_ms,)).rowcount

    def _now(self, now_ms: int) -> int | None:
        return now_ms if self._live_sql else None

    def _row(self, document: Document) -> list[object]:
        derived = [column_value(document.get(name)) for name in self._columns]
        return [encoded(document), *derived]

    def _write(
        self, connection: sqlite3.Connection, statement: str, row: Sequence[object], document: Document, now_ms: int
    ) -> bool:
        try:
            return connection.execute(statement, row).rowcount == 1
        except sqlite3.IntegrityError as error:
            index = self._refusing_index(error)
            if not self._evict_expired(connection, index, document, now_ms):
                raise DuplicateKeyError(self.spec.name, index) from None
        return self._write(connection, statement, row, document, now_ms)

    def _refusing_index(self, error: sqlite3.IntegrityError) -> str:
        # The message is "UNIQUE constraint failed: users.email_key" with all columns of the index.
        return self._constraints.get(str(error).partition(": ")[2], "_id")

    def _evict_expired(self, connection: sqlite3.Connection, index: str, document: Document, now_ms: int) -> bool:
        if not self._live_sql:
            return False
        fields = ("_id",) if index == "_id" else self.spec.index(index).fields
        same = " AND ".join(f'"{field}" = ?' for field in fields)
        values = [document[field] for field in fields]
        statement = f'{self._delete_sql}{same} AND "expires_at" <= ?'
        return connection.execute(statement, (*values, now_ms)).rowcount > 0
