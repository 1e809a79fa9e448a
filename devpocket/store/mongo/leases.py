"""Leases: each step is one find-and-modify on one document, so that of many takers one wins.

Ends are compared with the clock of the process that asks, so hosts must agree on the time to well within a lease.
"""

from collections.abc import Sequence
from datetime import datetime

from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError as KeyTakenError

from devpocket.store.leases import UNFINISHED, lease_of
from devpocket.store.mongo.link import Link
from devpocket.store.port import Document, Lease


class Leases:
    """See the lease methods of :class:`devpocket.store.port.Store`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._leases = link.database["leases"]

    async def acquire(self, lease_id: str, owner: str, held_until: datetime, now: datetime) -> Lease | None:
        """Take a free or ended lease, else make the first one, else keep one's own."""
        free = {"_id": lease_id, "$or": [{"held_until": None}, {"held_until": {"$lte": now}}]}
        taking = {"$set": {"owner": owner, "held_until": held_until}, "$inc": {"fence": 1}}
        if former := await self._link.call(lambda _: self._leases.find_one_and_update(free, taking)):
            return Lease(lease_id, owner, former["fence"] + 1, held_until, is_inherited=former["owner"] is not None)
        if await self._insert(Lease(lease_id, owner, 1, held_until)):
            return Lease(lease_id, owner, 1, held_until)
        own = {"_id": lease_id, "owner": owner, "held_until": {"$gt": now}}
        return await self._change(own, {"$set": {"held_until": held_until}})

    async def renew(self, lease: Lease, held_until: datetime, now: datetime) -> Lease | None:
        """Move the end of a lease that is still held."""
        return await self._change({**_own(lease), "held_until": {"$gt": now}}, {"$set": {"held_until": held_until}})

    async def release(self, lease: Lease, *, unfinished: bool) -> bool:
        """Take the owner away, and the end; the fence stays."""
        gone: Document = {"$set": {"owner": None, "held_until": UNFINISHED if unfinished else None}}

        async def release(repeated: bool) -> bool:
            return (await self._leases.update_one(_own(lease), gone)).matched_count == 1 or repeated

        return await self._link.call(release)

    async def forget(self, lease: Lease) -> bool:
        """Remove the document."""

        async def forget(repeated: bool) -> bool:
            return (await self._leases.delete_one(_own(lease))).deleted_count == 1 or repeated

        return await self._link.call(forget)

    async def live(self, lease_ids: list[str], now: datetime) -> dict[str, Lease]:
        """Return those held now."""
        condition = {"_id": {"$in": lease_ids}, "held_until": {"$gt": now}}
        found = await self._link.call(lambda _: self._leases.find(condition).to_list())
        return {document["_id"]: lease_of(document) for document in found}

    async def expired(self, limit: int, now: datetime) -> Sequence[Lease]:
        """Return those that have ended, oldest first."""
        order = [("held_until", ASCENDING), ("_id", ASCENDING)]
        condition = {"held_until": {"$lte": now}}
        found = await self._link.call(lambda _: self._leases.find(condition).sort(order).limit(limit).to_list())
        return [lease_of(document) for document in found]

    async def _change(self, condition: Document, change: Document) -> Lease | None:
        found = await self._link.call(
            lambda _: self._leases.find_one_and_update(condition, change, return_document=ReturnDocument.AFTER)
        )
        return lease_of(found) if found else None

    async def _insert(self, lease: Lease) -> bool:
        document = {
            "_id": lease.id,
            "version": 1,
            "owner": lease.owner,
            "fence": lease.fence,
            "held_until": lease.held_until,
        }
        try:
            await self._link.call(lambda _: self._leases.insert_one(document))
        except KeyTakenError:
            return False
        return True


def _own(lease: Lease) -> Document:
    return {"_id": lease.id, "owner": lease.owner, "fence": lease.fence}
