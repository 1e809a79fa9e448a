"""One attribute for each row of the table, whatever the adapter."""

from collections.abc import Callable

from devpocket.store.indexes import COLLECTIONS, CollectionSpec
from devpocket.store.port import Collection


class CollectionSet:
    """What both adapters' stores begin with."""

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

    def __init__(self, make: Callable[[CollectionSpec], Collection]) -> None:
        for spec in COLLECTIONS:
            setattr(self, spec.name, make(spec))
