"""The store: one narrow port (:mod:`.port`) and its adapters, SQLite (the default) and MongoDB."""
