"""The clock is passed in, so that tests decide what time it is."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Return the present moment: aware, UTC, cut to milliseconds (what MongoDB keeps)."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Return the present moment, aware, UTC, cut to milliseconds."""
        return to_milliseconds(datetime.now(UTC))


def to_milliseconds(moment: datetime) -> datetime:
    """Return ``moment`` cut to whole milliseconds, so that what is stored equals what was meant."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
