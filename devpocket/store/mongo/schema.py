"""Indexes in MongoDB, made from the one table; what is there and differs is reported, never silently kept."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError as KeyTakenError

from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.store.errors import IndexMismatchError
from devpocket.store.indexes import COLLECTIONS, CollectionSpec, Index
from devpocket.store.mongo.link import Database, Link


@dataclass(frozen=True, slots=True)
class _Shape:
    """What decides how an index behaves."""

    keys: tuple[tuple[str, Any], ...]
    unique: bool = False
    partial: Mapping[str, Any] | None = None
    expire_after_s: float | None = None
    collation: Any = None

    def model(self, name: str) -> IndexModel:
        options: dict[str, Any] = {"name": name}
        if self.unique:
            options |= {"unique": True, "partialFilterExpression": self.partial}
        if self.expire_after_s is not None:
            options["expireAfterSeconds"] = self.expire_after_s
        return IndexModel(list(self.keys), **options)

    def difference(self, wanted: "_Shape") -> str:
        parts = [
            f"{field} is {getattr(self, field)!r} and should be {getattr(wanted, field)!r}"
            for field in self.__slots__
            if getattr(self, field) != getattr(wanted, field)
        ]
        return ", ".join(parts)


async def ensure_indexes(link: Link) -> None:
    """Make what is missing, in all collections at once. Doing it again, or in two processes, is harmless.

    Raises :class:`~devpocket.store.errors.IndexMismatchError` when an index is there with other options, and
    :class:`~devpocket.errors.ConfigurationError` when what is stored contradicts one.
    """
    found = await asyncio.gather(*(_ensure(link, spec) for spec in COLLECTIONS))
    if differences := [difference for differences in found for difference in differences]:
        raise IndexMismatchError(differences)


async def index_differences(link: Link) -> tuple[str, ...]:
    """Return one sentence for each index that is missing, differs from the table, or is not in it."""
    found = await asyncio.gather(*(_differences(link, spec) for spec in COLLECTIONS))
    return tuple(difference for differences in found for difference in differences)


async def is_empty(link: Link) -> bool:
    """Tell whether the database has none of the table's collections."""
    names = await link.call(lambda _: link.database.list_collection_names())
    return not {spec.name for spec in COLLECTIONS} & set(names)


async def _differences(link: Link, spec: CollectionSpec) -> list[str]:
    present, wanted = await _present(link, spec), _wanted(spec)
    missing = [f"{spec.name}.{name} is missing" for name in wanted if name not in present]
    unknown = [f"{spec.name}.{name} is not in the table" for name in present if name not in wanted]
    return missing + _contradictions(spec, present, wanted) + unknown


async def _ensure(link: Link, spec: CollectionSpec) -> list[str]:
    present, wanted = await _present(link, spec), _wanted(spec)
    models = [shape.model(name) for name, shape in wanted.items() if name not in present]
    if models:
        try:
            await link.call(lambda _: link.database[spec.name].create_indexes(models))
        except (KeyTakenError, UnavailableError) as error:
            reason = error.detail if isinstance(error, UnavailableError) else error
            raise ConfigurationError(f"the indexes of {spec.name} cannot be made in MongoDB: {reason}") from error
    return _contradictions(spec, present, wanted)


def _contradictions(spec: CollectionSpec, present: dict[str, _Shape], wanted: dict[str, _Shape]) -> list[str]:
    return [
        f"{spec.name}.{name}: {present[name].difference(shape)}"
        for name, shape in wanted.items()
        if name in present and present[name] != shape
    ]


async def _present(link: Link, spec: CollectionSpec) -> dict[str, _Shape]:
    listed = await link.call(lambda _: _listed(link.database, spec.name))
    return {
        str(index["name"]): _Shape(
            keys=tuple(index["key"].items()),
            unique=bool(index.get("unique")),
            partial=index.get("partialFilterExpression"),
            expire_after_s=index.get("expireAfterSeconds"),
            collation=index.get("collation"),
        )
        for index in listed
        if index["name"] != "_id_"
    }


async def _listed(database: Database, name: str) -> list[Mapping[str, Any]]:
    async with await database[name].list_indexes() as cursor:
        return [index async for index in cursor]


def _wanted(spec: CollectionSpec) -> dict[str, _Shape]:
    shapes = {index.name: _shape(index) for index in spec.indexes}
    if spec.expires:
        shapes["expires_at"] = _Shape(keys=(("expires_at", ASCENDING),), expire_after_s=0)
    return shapes


def _shape(index: Index) -> _Shape:
    keys = tuple((field, ASCENDING) for field in index.fields)
    if not index.unique:
        return _Shape(keys=(*keys, ("_id", ASCENDING)))
    # An absent key counts as null, of which there may be one; so only documents with text in every field are held.
    # A comparison, unlike $type, lets the planner see that a query for a text is answered by the index.
    return _Shape(keys=keys, unique=True, partial={field: {"$gte": ""} for field in index.fields})
