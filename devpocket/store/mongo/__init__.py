"""The shared store: MongoDB, a standalone server or a replica set, for any number of processes."""
