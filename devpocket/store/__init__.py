"""The store: one narrow port (:mod:`.port`) and its adapters, SQLite (the default) and MongoDB."""

from devpocket.store.opening import open_store

__all__ = ["open_store"]
