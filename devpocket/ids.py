"""Identifiers: opaque, unguessable, safe in file names, URLs, tmux session names and Kubernetes labels."""

import secrets
from typing import NewType

UserId = NewType("UserId", str)
SessionId = NewType("SessionId", str)
EnvironmentId = NewType("EnvironmentId", str)
TemplateId = NewType("TemplateId", str)
ProcessId = NewType("ProcessId", str)
"""Names one server process for the time it lives; the owner written into leases."""


def new_id() -> str:
    """Return 24 lower-case hexadecimal digits (96 random bits): the shape of a MongoDB ObjectId, but not guessable."""
    return secrets.token_hex(12)


def is_id(text: str) -> bool:
    """Tell whether ``text`` has the shape that :func:`new_id` gives."""
    return len(text) == 24 and all(digit in "0123456789abcdef" for digit in text)
