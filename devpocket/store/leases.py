"""A lease as a document: ``owner`` and ``held_until`` while it is held, and a ``fence`` that only grows.

The document outlives its holders (the fence must never start again), until its environment goes. A released lease has
neither owner nor end, so that only those whose owner died are found by their end.
"""

from datetime import datetime

from devpocket.store.port import Document, Lease


def lease_of(document: Document) -> Lease:
    """Return the lease that a document with an owner describes."""
    return Lease(document["_id"], document["owner"], document["fence"], document["held_until"])


def is_held(document: Document, now: datetime) -> bool:
    """Tell whether somebody holds the lease now."""
    return document["owner"] is not None and document["held_until"] > now


def is_own(document: Document, lease: Lease) -> bool:
    """Tell whether nobody has taken the lease since ``lease`` was given out."""
    return bool(document["owner"] == lease.owner and document["fence"] == lease.fence)
