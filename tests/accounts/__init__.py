"""Accounts, sessions and the security floor, tried at the front door: real processes, real sockets."""
