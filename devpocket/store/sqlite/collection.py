"""The port's collection over one table: checks on the event loop, statements on the worker's thread."""

from collections.abc import Sequence

from devpocket.clock import Clock
from devpocket.store.documents import normalised
from devpocket.store.errors import DuplicateKeyError
from devpocket.store.indexes import CollectionSpec
from devpocket.store.port import Collection, Document, Key
from devpocket.store.selection import Page, paged, selected, unique_key
from devpocket.store.sqlite.schema import column_value
from devpocket.store.sqlite.table import Table
from devpocket.store.sqlite.worker import Worker


class SqliteCollection(Collection):
    """See :class:`devpocket.store.port.Collection` for what each method gives and raises."""

    def __init__(self, spec: CollectionSpec, worker: Worker, clock: Clock) -> None:
        self._spec = spec
        self._table = Table(spec)
        self._worker = worker
        self._clock = clock

    async def insert(self, document: Document) -> None:
        """Store a new document, durably."""
        new, now_ms = normalised(self._spec, document), self._now_ms()
        await self._worker.write(lambda connection: self._table.insert(connection, new, now_ms))

    async def insert_many(self, documents: Sequence[Document]) -> None:
        """Store new documents with one commit."""
        new, now_ms = [normalised(self._spec, document) for document in documents], self._now_ms()
        refused = await self._worker.write(lambda connection: self._table.insert_many(connection, new, now_ms))
        if refused is not None:
            raise DuplicateKeyError(self._spec.name, refused)

    async def get(self, document_id: str) -> Document | None:
        """Return the document, or ``None``."""
        now_ms = self._now_ms()
        return await self._worker.read(lambda connection: self._table.get(connection, document_id, now_ms))

    async def get_by(self, index: str, *values: Key) -> Document | None:
        """Return the one document with these values for a unique index, or ``None``."""
        selection, now_ms = unique_key(self._spec, index, values), self._now_ms()
        page = Page(descending=False, limit=1, after=None)
        found = await self._worker.read(lambda connection: self._table.find(connection, selection, page, now_ms))
        return found[0] if found else None

    async def replace(self, document: Document, *, fence: int | None = None) -> Document:
        """Compare the version and put the document in its place; return it as stored."""
        new, now_ms = normalised(self._spec, document), self._now_ms()
        expected = new["version"]
        new["version"] += 1
        if fence is not None:
            new["fence"] = fence
        await self._worker.write(lambda connection: self._table.replace(connection, new, expected, fence, now_ms))
        return new

    async def delete(self, document_id: str) -> bool:
        """Remove the document; tell whether it was there."""
        now_ms = self._now_ms()
        return await self._worker.write(lambda connection: self._table.delete(connection, document_id, now_ms))

    async def delete_by(self, index: str, *equal: Key, lower: Key = None, upper: Key = None) -> int:
        """Remove all selected documents in bounded batches; return how many."""
        selection, now_ms = selected(self._spec, index, equal, lower, upper), self._now_ms()
        selection.refuse_everything()
        removed = 0
        while batch := await self._worker.write(lambda db: self._table.delete_batch(db, selection, now_ms)):
            removed += batch
        return removed

    async def query(
        self,
        index: str,
        *equal: Key,
        lower: Key = None,
        upper: Key = None,
        descending: bool = False,
        limit: int = 100,
        after: Document | None = None,
    ) -> list[Document]:
        """Return one page of documents in the order of the index."""
        selection, now_ms = selected(self._spec, index, equal, lower, upper), self._now_ms()
        page = paged(selection, descending=descending, limit=limit, after=after)
        return await self._worker.read(lambda connection: self._table.find(connection, selection, page, now_ms))

    async def count(self, index: str, *equal: Key, lower: Key = None, upper: Key = None) -> int:
        """Return how many documents are selected."""
        selection, now_ms = selected(self._spec, index, equal, lower, upper), self._now_ms()
        return await self._worker.read(lambda connection: self._table.count(connection, selection, now_ms))

    async def sweep(self) -> int:
        """Remove what has expired, in bounded batches; return how many documents."""
        now_ms, removed = self._now_ms(), 0
        while batch := await self._worker.write(lambda db: self._table.sweep_batch(db, now_ms)):
            removed += batch
        return removed

    def _now_ms(self) -> int:
        now_ms: int = column_value(self._clock.now())
        return now_ms
