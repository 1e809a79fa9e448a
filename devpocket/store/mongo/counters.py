"""Bounded counters and windows, each a single document changed by one atomic command.

No upserts: a filter that says more than the id behaves differently between servers. So: change what is there, else
insert, else somebody else inserted in between and there is something to change.
"""

from datetime import datetime, timedelta

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError as KeyTakenError

from devpocket.errors import UnavailableError
from devpocket.store.mongo.link import RETRY_AFTER_S, Link
from devpocket.store.port import Window

_ROUNDS = 20


class Counters:
    """Slots held under a limit (``counters``) and counts within a span of time (``attempts``)."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._counters = link.database["counters"]
        self._attempts = link.database["attempts"]

    async def reserve(self, counter_id: str, member: str, limit: int, now: datetime) -> bool:
        """Add ``member`` unless ``limit`` others are in; a position beyond the end of a list does not exist."""
        if limit < 1:
            return member in await self.reserved(counter_id)
        room = {"_id": counter_id, "members": {"$ne": member}, f"members.{limit - 1}": {"$exists": False}}
        taken = {"$push": {"members": member}, "$set": {"taken_at": now}}
        for _ in range(_ROUNDS):
            changed = await self._link.call(lambda _: self._counters.update_one(room, taken))
            if changed.matched_count:
                return True
            found = await self._link.call(lambda _: self._counters.find_one({"_id": counter_id}))
            if found is not None:
                if member in found["members"]:
                    return True
                if len(found["members"]) >= limit:
                    return False
            elif await self._insert_first(counter_id, member, now):
                return True
        raise _contended(counter_id)

    async def release(self, counter_id: str, member: str) -> bool:
        """Take the counter away with its last member, in one step: a process may die at any moment; else the member.

        Two last members that go at once leave an empty counter, which whoever comes second takes away.
        """

        async def take_out(repeated: bool) -> bool:
            if (await self._counters.delete_one({"_id": counter_id, "members": [member]})).deleted_count:
                return True
            condition, change = {"_id": counter_id, "members": member}, {"$pull": {"members": member}}
            return (await self._counters.update_one(condition, change)).matched_count == 1 or repeated

        was_member = await self._link.call(take_out)
        await self._link.call(lambda _: self._counters.delete_one({"_id": counter_id, "members": {"$size": 0}}))
        return was_member

    async def reserved(self, counter_id: str) -> frozenset[str]:
        """Return the members."""
        found = await self._link.call(lambda _: self._counters.find_one({"_id": counter_id}))
        return frozenset(found["members"] if found else ())

    async def increment(self, key: str, amount: int, ttl_s: float, now: datetime) -> int:
        """Add to the running window, else start one in the place of an ended one, else insert one."""
        ends_at = now + timedelta(seconds=ttl_s)
        started = {"value": amount, "expires_at": ends_at}
        steps = (
            ({"_id": key, "expires_at": {"$gt": now}}, {"$inc": {"value": amount}}),
            ({"_id": key, "expires_at": {"$lte": now}}, {"$set": started}),
        )
        for _ in range(_ROUNDS):
            for condition, change in steps:
                changed = await self._link.call(
                    lambda _, condition=condition, change=change: self._attempts.find_one_and_update(  # type: ignore[misc]
                        condition, change, return_document=ReturnDocument.AFTER
                    )
                )
                if changed is not None:
                    return int(changed["value"])
            try:
                await self._link.call(lambda _: self._attempts.insert_one({"_id": key, "version": 1, **started}))
            except KeyTakenError:
                continue
            return amount
        raise _contended(key)

    async def window(self, key: str, now: datetime) -> Window | None:
        """Return the running window."""
        condition = {"_id": key, "expires_at": {"$gt": now}}
        found = await self._link.call(lambda _: self._attempts.find_one(condition))
        return Window(found["value"], found["expires_at"]) if found else None

    async def reset(self, key: str, now: datetime) -> bool:
        """End the window."""
        condition = {"_id": key, "expires_at": {"$gt": now}}

        async def delete(repeated: bool) -> bool:
            return (await self._attempts.delete_one(condition)).deleted_count == 1 or repeated

        return await self._link.call(delete)

    async def _insert_first(self, counter_id: str, member: str, now: datetime) -> bool:
        document = {"_id": counter_id, "version": 1, "members": [member], "taken_at": now}
        try:
            await self._link.call(lambda _: self._counters.insert_one(document))
        except KeyTakenError:
            return False
        return True


def _contended(what: str) -> UnavailableError:
    detail = f"{what} was changed by others {_ROUNDS} times in a row"
    return UnavailableError("Too much is happening at once; try again.", detail=detail, retry_after_s=RETRY_AFTER_S)
