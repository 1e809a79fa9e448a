"""A query, checked against the table and ready to be written down by an adapter."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from devpocket.store.documents import moment
from devpocket.store.indexes import CollectionSpec
from devpocket.store.port import MAX_LIMIT, Document, Key

_MAX_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which documents: ``equal`` pairs, and bounds for the first of ``rest``, the index's remaining fields."""

    equal: tuple[tuple[str, Key], ...]
    rest: tuple[str, ...]
    lower: Key
    upper: Key
    unique: bool

    @property
    def order(self) -> str | None:
        """The field that bounds and order apply to."""
        return self.rest[0] if self.rest else None

    @property
    def required(self) -> tuple[str, ...]:
        """Fields that must be there for the index to hold a document."""
        return self.rest if self.unique else ()

    def refuse_everything(self) -> None:
        """Raise :class:`ValueError` if this selects a whole collection, which nobody means to remove."""
        if not self.equal and self.lower is None and self.upper is None:
            raise ValueError("a selection for removal needs a value or a bound")


@dataclass(frozen=True, slots=True)
class Page:
    """In which order, how many, and behind which (value of the ordering field, id)."""

    descending: bool
    limit: int
    after: tuple[Key, str] | None


def selected(spec: CollectionSpec, index_name: str, equal: tuple[Key, ...], lower: Key, upper: Key) -> Selection:
    """Check values and bounds against a declared index; :class:`ValueError` says what does not fit."""
    index = spec.index(index_name)
    if len(equal) > len(index.fields):
        raise ValueError(f"{spec.name}.{index_name} has {len(index.fields)} fields, {len(equal)} values were given")
    rest = index.fields[len(equal) :]
    if not rest and (lower is not None or upper is not None):
        raise ValueError(f"{spec.name}.{index_name} has no field left for a bound")
    return Selection(
        equal=tuple((field, _checked(value)) for field, value in zip(index.fields, equal, strict=False)),
        rest=rest,
        lower=_checked(lower),
        upper=_checked(upper),
        unique=index.unique,
    )


def paged(selection: Selection, *, descending: bool, limit: int, after: Document | None) -> Page:
    """Check the order of a query; :class:`ValueError` says what does not fit."""
    if len(selection.rest) > 1:
        raise ValueError(f"a query must give all fields of an index but the last; {selection.rest} are left")
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"a query's limit is from 1 to {MAX_LIMIT}, not {limit}")
    position = None
    if after is not None:
        position = (_checked(after.get(selection.order)) if selection.order else None, str(after["_id"]))
    return Page(descending, limit, position)


def unique_key(spec: CollectionSpec, index_name: str, values: tuple[Key, ...]) -> Selection:
    """Check that ``values`` name all fields of a unique index; :class:`ValueError` if not."""
    index = spec.index(index_name)
    if not index.unique or len(values) != len(index.fields) or None in values:
        raise ValueError(f"{spec.name}.{index_name} is not a unique index over {len(values)} values")
    return selected(spec, index_name, values, None, None)


def _checked(value: Key) -> Key:
    if isinstance(value, datetime):
        return moment(value, "a value of the query")
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be looked for")


def checked_ids(ids: Sequence[str]) -> list[str]:
    """Return the ids; :class:`ValueError` if they are more than one round trip should carry."""
    if len(ids) > MAX_LIMIT:
        raise ValueError(f"{len(ids)} ids at once, {MAX_LIMIT} are allowed")
    return list(ids)


def checked_span(since: datetime, until: datetime, bucket_s: int) -> tuple[datetime, datetime]:
    """Return the span in UTC; :class:`ValueError` if it is naive, or more than 10,000 buckets."""
    span = moment(since, "since"), moment(until, "until")
    if bucket_s < 1 or (span[1] - span[0]).total_seconds() > bucket_s * _MAX_BUCKETS:
        raise ValueError(f"a history of {span[1] - span[0]} in buckets of {bucket_s} s is too fine")
    return span
