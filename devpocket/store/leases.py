"""A lease as a document: ``owner`` and ``held_until`` while it is held, and a ``fence`` that only grows.

The document outlives its holders (the fence must never start again), until its environment goes. A released lease has
no owner and no end, so that only those are found by their end whose owner died, or left with something unfinished.
"""

from datetime import UTC, datetime

from devpocket.store.port import Document, Lease

UNFINISHED = datetime(1970, 1, 1, tzinfo=UTC)
"""The end of a lease that was released unfinished: over for every clock, and before all others in a sweep."""


def lease_of(document: Document) -> Lease:
    """Return the lease that a document with an end describes; nobody is its owner if it was released unfinished."""
    return Lease(document["_id"], document["owner"] or "", document["fence"], document["held_until"])


def is_held(document: Document, now: datetime) -> bool:
    """Tell whether somebody holds the lease now."""
    return document["owner"] is not None and document["held_until"] > now


def is_own(document: Document, lease: Lease) -> bool:
    """Tell whether nobody has taken the lease since ``lease`` was given out."""
    return bool(document["owner"] == lease.owner and document["fence"] == lease.fence)
