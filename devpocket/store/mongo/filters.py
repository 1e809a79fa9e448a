"""A checked selection written as a MongoDB filter."""

from datetime import datetime
from typing import Any

from devpocket.store.indexes import CollectionSpec
from devpocket.store.port import Document, Key
from devpocket.store.selection import Page, Selection


def live(spec: CollectionSpec, now: datetime) -> Document:
    """Return the condition that leaves out what has expired and was not swept yet."""
    return {"expires_at": {"$not": {"$lte": now}}} if spec.expires else {}


def where(selection: Selection) -> Document:
    """Return the condition for equal values, bounds and the fields that must be there."""
    condition: Document = dict(selection.equal)
    for field in selection.required:
        condition[field] = {"$gte": ""}
    bounds: dict[str, Any] = {}
    if selection.lower is not None:
        bounds["$gte"] = selection.lower
    if selection.upper is not None:
        bounds["$lt"] = selection.upper
    if selection.order and bounds:
        condition[selection.order] = {**condition.get(selection.order, {}), **bounds}
    return condition


def behind(order: str | None, page: Page) -> Document:
    """Return the condition for what comes after the page before, in the page's order."""
    if page.after is None:
        return {}
    value, document_id = page.after
    than = "$lt" if page.descending else "$gt"
    if order is None:
        return {"_id": {than: document_id}}
    same: Document = {order: value, "_id": {than: document_id}}
    return {"$or": [same, *_further(order, value, than, descending=page.descending)]}


def _further(order: str, value: Key, than: str, *, descending: bool) -> list[Document]:
    # A comparison never matches null, which comes first in ascending order and last in descending order.
    if value is None:
        return [] if descending else [{order: {"$ne": None}}]
    return [{order: {than: value}}, *([{order: None}] if descending else [])]
