"""Counters, windows and leases: read, decide and write inside one job, which nothing can come between."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from devpocket.store.indexes import collection_spec
from devpocket.store.leases import UNFINISHED, is_held, is_own, lease_of
from devpocket.store.port import MAX_LIMIT, Document, Lease, Window
from devpocket.store.selection import Page, selected
from devpocket.store.sqlite.schema import column_value
from devpocket.store.sqlite.table import Table

_counters = Table(collection_spec("counters"))
_attempts = Table(collection_spec("attempts"))
_leases = Table(collection_spec("leases"))


def reserve(connection: sqlite3.Connection, counter_id: str, member: str, limit: int, now: datetime) -> bool:
    """See :meth:`devpocket.store.port.Store.reserve`."""
    members = reserved(connection, counter_id, now)
    if member in members:
        return True
    if len(members) >= limit:
        return False
    holders = sorted({*members, member})
    _put(connection, _counters, {"_id": counter_id, "version": 1, "members": holders, "taken_at": now}, now)
    return True


def release(connection: sqlite3.Connection, counter_id: str, member: str, now: datetime) -> bool:
    """See :meth:`devpocket.store.port.Store.release`."""
    document = _counters.get(connection, counter_id, column_value(now))
    if document is None or member not in document["members"]:
        return False
    rest = [each for each in document["members"] if each != member]
    if rest:
        _put(connection, _counters, {**document, "members": rest}, now)
    else:
        _counters.delete(connection, counter_id, column_value(now))
    return True


def reserved(connection: sqlite3.Connection, counter_id: str, now: datetime) -> frozenset[str]:
    """See :meth:`devpocket.store.port.Store.reserved`."""
    document = _counters.get(connection, counter_id, column_value(now))
    return frozenset(document["members"] if document else ())


def increment(connection: sqlite3.Connection, key: str, amount: int, ttl_s: float, now: datetime) -> int:
    """See :meth:`devpocket.store.port.Store.increment`."""
    running = window(connection, key, now) or Window(0, now + timedelta(seconds=ttl_s))
    value = running.value + amount
    _put(connection, _attempts, {"_id": key, "version": 1, "value": value, "expires_at": running.ends_at}, now)
    return value


def window(connection: sqlite3.Connection, key: str, now: datetime) -> Window | None:
    """See :meth:`devpocket.store.port.Store.window`."""
    document = _attempts.get(connection, key, column_value(now))
    return Window(document["value"], document["expires_at"]) if document else None


def reset(connection: sqlite3.Connection, key: str, now: datetime) -> bool:
    """See :meth:`devpocket.store.port.Store.reset`."""
    return _attempts.delete(connection, key, column_value(now))


def acquire_lease(
    connection: sqlite3.Connection, lease_id: str, owner: str, held_until: datetime, now: datetime
) -> Lease | None:
    """See :meth:`devpocket.store.port.Store.acquire_lease`."""
    document = _leases.get(connection, lease_id, column_value(now))
    if document and is_held(document, now):
        if document["owner"] != owner:
            return None
        return _hold(connection, Lease(lease_id, owner, document["fence"], held_until), now)
    fence, inherited = (document["fence"] + 1, document["owner"] is not None) if document else (1, False)
    return _hold(connection, Lease(lease_id, owner, fence, held_until, inherited), now)


def renew_lease(connection: sqlite3.Connection, lease: Lease, held_until: datetime, now: datetime) -> Lease | None:
    """See :meth:`devpocket.store.port.Store.renew_lease`."""
    document = _leases.get(connection, lease.id, column_value(now))
    if document is None or not is_own(document, lease) or not is_held(document, now):
        return None
    return _hold(connection, Lease(lease.id, lease.owner, lease.fence, held_until), now)


def release_lease(connection: sqlite3.Connection, lease: Lease, now: datetime, *, unfinished: bool) -> bool:
    """See :meth:`devpocket.store.port.Store.release_lease`."""
    document = _leases.get(connection, lease.id, column_value(now))
    if document is None or not is_own(document, lease):
        return False
    _put(connection, _leases, {**document, "owner": None, "held_until": UNFINISHED if unfinished else None}, now)
    return True


def forget_lease(connection: sqlite3.Connection, lease: Lease, now: datetime) -> bool:
    """See :meth:`devpocket.store.port.Store.forget_lease`."""
    document = _leases.get(connection, lease.id, column_value(now))
    if document is None or not is_own(document, lease):
        return False
    return _leases.delete(connection, lease.id, column_value(now))


def live_leases(connection: sqlite3.Connection, lease_ids: Sequence[str], now: datetime) -> dict[str, Lease]:
    """See :meth:`devpocket.store.port.Store.live_leases`."""
    documents = (_leases.get(connection, lease_id, column_value(now)) for lease_id in lease_ids)
    return {found["_id"]: lease_of(found) for found in documents if found and is_held(found, now)}


def expired_leases(connection: sqlite3.Connection, limit: int, now: datetime) -> list[Lease]:
    """See :meth:`devpocket.store.port.Store.expired_leases`."""
    selection = selected(_leases.spec, "held_until", (), None, now)
    found = _leases.find(connection, selection, Page(descending=False, limit=limit, after=None), column_value(now))
    return [lease_of(document) for document in found]


def end_leases(connection: sqlite3.Connection, now: datetime) -> int:
    """End all leases, keeping their fences: whoever holds the file's lock knows that their holders are gone."""
    ended = 0
    while held := _leases.find(
        connection,
        selected(_leases.spec, "held_until", (), now, None),
        Page(descending=False, limit=MAX_LIMIT, after=None),
        column_value(now),
    ):
        for document in held:
            _put(connection, _leases, {**document, "held_until": now - timedelta(milliseconds=1)}, now)
        ended += len(held)
    return ended


def _hold(connection: sqlite3.Connection, lease: Lease, now: datetime) -> Lease:
    document = {
        "_id": lease.id,
        "version": 1,
        "owner": lease.owner,
        "fence": lease.fence,
        "held_until": lease.held_until,
    }
    _put(connection, _leases, document, now)
    return lease


def _put(connection: sqlite3.Connection, table: Table, document: Document, now: datetime) -> None:
    now_ms = column_value(now)
    if not table.put(connection, document, now_ms):
        table.insert(connection, document, now_ms)
