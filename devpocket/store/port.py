"""The port: what domain code may ask of a store, whichever adapter is behind it.

Documents are plain dictionaries with ``_id`` (text) and ``version`` (a whole number). Values are ``str``, ``int`` (64
bits), ``float``, ``bool``, ``None``, ``bytes``, ``list``, ``dict`` and aware UTC datetimes, which are cut to
milliseconds. There is no filter language and no update language: read a document, decide, replace it.

All coroutines raise :class:`devpocket.errors.UnavailableError` when the store does not answer now, and
:class:`ValueError` for a document or an index that breaks the rules (a mistake in the program). **Cancelling** any of
them is safe: a change is made whole or not at all, though a cancelled caller cannot know which; nothing stays locked.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from devpocket.store.indexes import COLLECTIONS, CollectionSpec

Document = dict[str, Any]
Key = str | int | float | bool | datetime | None
"""What an indexed field may hold."""

MAX_LIMIT = 1000
"""The most documents one query gives back."""


class Collection(Protocol):
    """One kind of document; see :mod:`devpocket.store.indexes` for which there are and what they are indexed by."""

    async def insert(self, document: Document) -> None:
        """Store a new document, durably; ``version`` is 1 unless the document has one.

        Raises :class:`~devpocket.store.errors.DuplicateKeyError`, naming the index, when the id or a unique key is
        taken. A document that has expired takes nothing.
        """
        ...

    async def insert_many(self, documents: Sequence[Document]) -> None:
        """Store new documents in one round trip, for samples and lines.

        Not all or nothing: with :class:`~devpocket.store.errors.DuplicateKeyError` those not taken are stored.
        """
        ...

    async def get(self, document_id: str) -> Document | None:
        """Return the document, or ``None`` if there is none or it has expired."""
        ...

    async def get_by(self, index: str, *values: Key) -> Document | None:
        """Return the one document with these values for all fields of a unique index, or ``None``."""
        ...

    async def replace(self, document: Document, *, fence: int | None = None) -> Document:
        """Put ``document`` in the place of the stored one with its ``_id`` and ``version``; return it as stored now.

        What is stored has ``version`` one higher. Of many at once on one version exactly one wins. With a ``fence``
        the stored document's ``fence`` (absent is 0) must not be higher, and the given one is written.

        Raises :class:`~devpocket.store.errors.MissingDocumentError`,
        :class:`~devpocket.store.errors.StaleFenceError`, :class:`~devpocket.store.errors.VersionConflictError` (in
        this order) or :class:`~devpocket.store.errors.DuplicateKeyError`; then nothing has changed. After
        :class:`~devpocket.errors.UnavailableError` it may have.
        """
        ...

    async def delete(self, document_id: str) -> bool:
        """Remove the document; tell whether it was there."""
        ...

    async def delete_by(self, index: str, *equal: Key, lower: Key = None, upper: Key = None) -> int:
        """Remove all documents that :meth:`count` counts, in bounded batches; return how many.

        Needs at least one equal value or bound. Cancelling stops between batches.
        """
        ...

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
        """Return documents with the ``equal`` values in the index's first fields, ordered by the next field, then id.

        ``equal`` names all fields of the index, or all but the last. The next field is at least ``lower`` and below
        ``upper`` where these are given. At most ``limit`` (1 to 1000) come back; ``after`` is the last document of
        the page before.
        """
        ...

    async def count(self, index: str, *equal: Key, lower: Key = None, upper: Key = None) -> int:
        """Return how many documents have the ``equal`` values (any number of them) in the index's first fields."""
        ...


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What :meth:`Store.check` saw: the adapter, its server's version, one round trip."""

    name: str
    version: str
    latency_s: float


@dataclass(frozen=True, slots=True)
class StoreInspection:
    """What :meth:`Store.inspect` saw; ``notes`` are worth saying and nothing wrong."""

    health: StoreHealth
    index_differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drive one environment until ``held_until``; ``fence`` grows by one with each change of owner."""

    id: str
    owner: str
    fence: int
    held_until: datetime
    is_inherited: bool = field(default=False, compare=False)
    """Just acquired, from an owner that let it run out instead of releasing it."""


@dataclass(frozen=True, slots=True)
class Window:
    """A count within a fixed span of time that ends at ``ends_at``."""

    value: int
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class MetricsBucket:
    """The samples of one span that starts at ``at``: averages in percent, the highest of the byte counters."""

    at: datetime
    samples: int
    cpu_percent: float | None
    memory_percent: float | None
    storage_percent: float | None
    network_in_bytes: int | None
    network_out_bytes: int | None


class Store(ABC):
    """All collections, and the few things that need more than one document's compare-and-set."""

    users: Collection
    sessions: Collection
    codes: Collection
    environments: Collection
    templates: Collection
    terminal_sessions: Collection
    metrics: Collection
    logs: Collection
    clusters: Collection
    audit: Collection
    mails: Collection
    settings: Collection
    counters: Collection
    """Changed by :meth:`reserve` and :meth:`release` alone; ``taken_at`` is when a slot was taken last.

    Deleted with whatever it counts.
    """

    def __init__(self, make: Callable[[CollectionSpec], Collection]) -> None:
        """Adapters say how to make the collection of a row of the table."""
        for spec in COLLECTIONS:
            setattr(self, spec.name, make(spec))

    @abstractmethod
    async def start(self) -> None:
        """Open the store and bring its indexes to the table; must come first, once.

        Raises :class:`~devpocket.store.errors.ConfigurationError` with one line that says what is wrong.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what was accepted, stop the sweeper and let go of the database. Closing twice is harmless."""

    @abstractmethod
    async def check(self) -> StoreHealth:
        """Ask the database, once, for a sign of life. Cheap: one round trip."""

    @abstractmethod
    async def inspect(self) -> StoreInspection:
        """Compare the database with the table of indexes, one sentence for each difference. Changes nothing.

        Needs no :meth:`start`, which would mend what is to be found. Raises
        :class:`~devpocket.errors.ConfigurationError` for a database that is not ours.
        """

    @abstractmethod
    async def reserve(self, counter_id: str, member: str, limit: int) -> bool:
        """Take one of ``limit`` slots for ``member``; tell whether it holds one now.

        A member that holds one already keeps it, so that repeating after a crash takes no second slot.
        """

    @abstractmethod
    async def release(self, counter_id: str, member: str) -> bool:
        """Give the slot of ``member`` back; tell whether it held one. Repeating frees nothing else."""

    @abstractmethod
    async def reserved(self, counter_id: str) -> frozenset[str]:
        """Return the members that hold slots, for a comparison with what is really there."""

    @abstractmethod
    async def increment(self, key: str, *, ttl_s: float, amount: int = 1) -> int:
        """Add to a count and return it. Its window starts with the first increment and ends ``ttl_s`` later.

        After a lost connection an increment may have been counted twice, never not at all.
        """

    @abstractmethod
    async def window(self, key: str) -> Window | None:
        """Return the count and when it ends, or ``None`` when no window is running."""

    @abstractmethod
    async def reset(self, key: str) -> bool:
        """End the window; tell whether there was one."""

    @abstractmethod
    async def acquire_lease(self, lease_id: str, owner: str, ttl_s: float) -> Lease | None:
        """Return the lease if it was free, has run out or is ``owner``'s already; else ``None``.

        The fence grows by one when the owner changes, and never shrinks, not after expiry or release.
        """

    @abstractmethod
    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease | None:
        """Return the lease with a later end, or ``None`` when it has run out or is somebody else's: then stop."""

    @abstractmethod
    async def release_lease(self, lease: Lease, *, unfinished: bool = False) -> bool:
        """Give the lease up, so that another may have it at once; tell whether it was still held.

        With ``unfinished`` it is among :meth:`expired_leases` until somebody takes it.
        """

    @abstractmethod
    async def forget_lease(self, lease: Lease) -> bool:
        """Remove the lease for good, with its environment. Only its holder can; tell whether it was held."""

    @abstractmethod
    async def live_leases(self, lease_ids: Sequence[str]) -> dict[str, Lease]:
        """Return those of the leases that somebody holds now, by id, in one round trip (at most 1000 ids)."""

    @abstractmethod
    async def expired_leases(self, limit: int = 100) -> list[Lease]:
        """Return leases that ran out, their owners having died, or were released unfinished; the latter come first."""

    @abstractmethod
    async def metrics_history(
        self, environment_id: str, since: datetime, until: datetime, bucket_s: int
    ) -> list[MetricsBucket]:
        """Return the samples from ``since`` up to ``until`` by spans of ``bucket_s`` seconds, oldest first.

        Spans start at multiples of ``bucket_s`` since 1970; those without samples are left out.
        """
