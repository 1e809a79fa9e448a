"""The embedded store: one SQLite file, one connection, one thread, one process."""
