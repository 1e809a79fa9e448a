"""The port's collection over one MongoDB collection.

Every write carries a random mark in ``_write``. When a connection breaks before the answer, the write is repeated, and
the mark tells whether a refusal means somebody else or the first attempt. Where somebody has written since, no mark is
left to tell it, and the caller hears that.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import BulkWriteError, WTimeoutError
from pymongo.errors import DuplicateKeyError as KeyTakenError
from pymongo.read_concern import ReadConcern

from devpocket.clock import Clock
from devpocket.store.documents import normalised
from devpocket.store.errors import (
    DuplicateKeyError,
    MissingDocumentError,
    StaleFenceError,
    VersionConflictError,
    WriteInDoubtError,
)
from devpocket.store.indexes import CollectionSpec
from devpocket.store.mongo.filters import behind, live, where
from devpocket.store.mongo.link import Link
from devpocket.store.port import Collection, Document, Key
from devpocket.store.selection import paged, selected, unique_key

T = TypeVar("T")

_BATCH = 500
_MARK = "_write"
_WITHOUT_MARK = {_MARK: 0}
_INDEX_NAME = re.compile(r"index: (\S+) dup key|Index '([^']+)'")


class MongoCollection(Collection):
    """See :class:`devpocket.store.port.Collection` for what each method gives and raises."""

    def __init__(self, spec: CollectionSpec, link: Link, clock: Clock) -> None:
        self._spec = spec
        self._link = link
        self._clock = clock
        self._documents = link.database[spec.name]
        self._settled = self._documents.with_options(read_concern=ReadConcern("majority"))

    async def insert(self, document: Document) -> None:
        """Store a new document on a majority of the servers."""
        new = _marked(normalised(self._spec, document))
        await self._link.call(lambda repeated: self._insert(new, repeated=repeated))

    async def insert_many(self, documents: Sequence[Document]) -> None:
        """Store new documents in one round trip."""
        new = [_marked(normalised(self._spec, document)) for document in documents]
        if new:
            await self._link.call(lambda repeated: self._insert_many(new, repeated=repeated))

    async def get(self, document_id: str) -> Document | None:
        """Return the document, or ``None``."""
        return await self._find_one({"_id": document_id})

    async def get_by(self, index: str, *values: Key) -> Document | None:
        """Return the one document with these values for a unique index, or ``None``."""
        return await self._find_one(where(unique_key(self._spec, index, values)))

    async def replace(self, document: Document, *, fence: int | None = None) -> Document:
        """Compare the version and put the document in its place; return it as stored."""
        new = normalised(self._spec, document)
        condition = {"_id": new["_id"], "version": new["version"]}
        new["version"] += 1
        if fence is not None:
            condition["fence"] = {"$not": {"$gt": fence}}
            new["fence"] = fence
        marked = _marked(new)
        await self._link.call(lambda repeated: self._replace(condition, marked, fence, repeated=repeated))
        return new

    async def delete(self, document_id: str) -> bool:
        """Remove the document; tell whether it was there."""
        condition = {"_id": document_id, **self._live()}

        async def delete(repeated: bool) -> bool:
            return (await self._documents.delete_one(condition)).deleted_count == 1 or repeated

        return await self._link.call(delete)

    async def delete_by(self, index: str, *equal: Key, lower: Key = None, upper: Key = None) -> int:
        """Remove all selected documents in bounded batches; return how many."""
        selection = selected(self._spec, index, equal, lower, upper)
        selection.refuse_everything()
        condition, removed = {"$and": [where(selection), self._live()]}, 0
        while ids := await self._link.call(lambda _: self._ids(condition)):
            await self._link.call(lambda _, ids=ids: self._documents.delete_many({"_id": {"$in": ids}}))  # type: ignore[misc]
            removed += len(ids)
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
        selection = selected(self._spec, index, equal, lower, upper)
        page = paged(selection, descending=descending, limit=limit, after=after)
        condition = {"$and": [where(selection), behind(selection.order, page), self._live()]}
        direction = DESCENDING if descending else ASCENDING
        order = [(field, direction) for field in (*selection.rest, "_id")]

        async def find(_: bool) -> list[Document]:
            cursor = self._documents.find(condition, _WITHOUT_MARK).sort(order).limit(limit)
            return await cursor.to_list()

        return await self._link.call(find)

    async def count(self, index: str, *equal: Key, lower: Key = None, upper: Key = None) -> int:
        """Return how many documents are selected."""
        condition = {"$and": [where(selected(self._spec, index, equal, lower, upper)), self._live()]}
        return await self._link.call(lambda _: self._documents.count_documents(condition))

    async def _find_one(self, condition: Document) -> Document | None:
        alive = {**condition, **self._live()}
        return await self._link.call(lambda _: self._documents.find_one(alive, _WITHOUT_MARK))

    async def _ids(self, condition: Document) -> list[str]:
        cursor = self._documents.find(condition, {"_id": 1}).limit(_BATCH)
        return [found["_id"] for found in await cursor.to_list()]

    async def _insert(self, new: Document, *, repeated: bool) -> None:
        await self._write(lambda: self._documents.insert_one(new), new, repeated=repeated)

    async def _insert_many(self, new: list[Document], *, repeated: bool) -> None:
        try:
            await self._documents.insert_many(new, ordered=False)
        except BulkWriteError as error:
            details: dict[str, Any] = dict(error.details)
            if details["writeConcernErrors"]:
                raise WTimeoutError(str(details["writeConcernErrors"])) from error
            refused = [new[failure["index"]] for failure in details["writeErrors"]]
        else:
            return
        taken: DuplicateKeyError | None = None
        for document in refused:  # one at a time, to learn of each why
            try:
                await self._insert(document, repeated=repeated)
            except DuplicateKeyError as error:
                taken = error
        if taken is not None:
            raise taken

    async def _replace(self, condition: Document, new: Document, fence: int | None, *, repeated: bool) -> None:
        alive = {**condition, **self._live()}
        result = await self._write(lambda: self._documents.replace_one(alive, new), new, repeated=repeated)
        if result is None or result.matched_count == 1 or (repeated and await self._is_stored(new)):
            return
        stored = await self._find_one({"_id": new["_id"]})
        if stored is None:
            if repeated:
                raise WriteInDoubtError(self._spec.name, new["_id"])
            raise MissingDocumentError(self._spec.name, new["_id"])
        if fence is not None and (stored.get("fence") or 0) > fence:
            raise StaleFenceError(self._spec.name, new["_id"], fence)
        raise VersionConflictError(self._spec.name, new["_id"], condition["version"])

    async def _write(self, write: Callable[[], Awaitable[T]], new: Document, *, repeated: bool) -> T | None:
        """Write; return ``None`` if a repeated write had been carried out the first time."""
        while True:
            try:
                return await write()
            except KeyTakenError as error:
                match = _INDEX_NAME.search(str(error))
                index = (match[1] or match[2]) if match else "_id_"
            if repeated and await self._is_stored(new):
                return None
            if not await self._evict_expired(index, new):
                raise DuplicateKeyError(self._spec.name, index.removesuffix("_") if index == "_id_" else index)

    async def _is_stored(self, new: Document) -> bool:
        """Tell whether it was the first attempt; WriteInDoubtError when the document has been written again since."""
        stored = await self._settled.find_one({"_id": new["_id"]}, {"version": 1, _MARK: 1})
        if stored is not None and stored["version"] > new["version"]:
            raise WriteInDoubtError(self._spec.name, new["_id"])
        return stored is not None and bool(stored.get(_MARK) == new[_MARK])

    async def _evict_expired(self, index: str, new: Document) -> bool:
        if self._spec.expires is None:
            return False
        fields = ("_id",) if index == "_id_" else self._spec.index(index).fields
        same = {field: new[field] for field in fields}
        result = await self._documents.delete_one({**same, "expires_at": {"$lte": self._clock.now()}})
        return result.deleted_count == 1

    def _live(self) -> Document:
        return live(self._spec, self._clock.now())


def _marked(document: Document) -> Document:
    return {**document, _MARK: secrets.token_bytes(9)}
