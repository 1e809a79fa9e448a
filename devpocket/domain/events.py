"""What is announced of an environment: hints for open sockets; the truth is in the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from devpocket.ids import EnvironmentId


class EventKind(StrEnum):
    """What happened; also the ``kind`` on the bus."""

    STATUS = "status"
    """The phase changed, or its message did."""
    INSTALLATION_LOG = "installation_log"
    INSTALLATION_STATUS = "installation_status"
    INSTALLATION_COMPLETE = "installation_complete"
    INSTALLATION_ERROR = "installation_error"
    LOG = "log"
    """A life-cycle line was written."""
    NOTICE = "notice"
    """A sentence for whoever is at a terminal (idle stop near, storage full, server going down)."""


@dataclass(frozen=True, slots=True)
class EnvironmentEvent:
    """One announcement; ``data`` holds JSON values only, so that any process can forward it."""

    environment_id: EnvironmentId
    kind: EventKind
    at: datetime
    data: Mapping[str, Any]
