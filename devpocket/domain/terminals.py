"""Terminal sizes, and UTF-8 that is never cut inside a character: pure, no I/O."""

import codecs
from dataclasses import dataclass

MINIMUM_COLUMNS, MAXIMUM_COLUMNS = 2, 500
MINIMUM_ROWS, MAXIMUM_ROWS = 1, 300


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """Columns and rows, clamped to what tmux and a person can use."""

    columns: int = 80
    rows: int = 24

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", min(max(self.columns, MINIMUM_COLUMNS), MAXIMUM_COLUMNS))
        object.__setattr__(self, "rows", min(max(self.rows, MINIMUM_ROWS), MAXIMUM_ROWS))


class Utf8Splitter:
    """Turns a stream of bytes into text that never ends inside a character; invalid bytes become U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """Return the complete characters so far; at most 3 bytes are kept for the next call."""
        return self._decoder.decode(data)

    def flush(self) -> str:
        """Return what an unfinished character at the end of the stream decodes to."""
        return self._decoder.decode(b"", final=True)


def character_end(data: bytes | bytearray | memoryview, most_bytes: int) -> int:
    """Return the largest cut up to ``most_bytes`` (at least 4) that does not fall inside a character."""
    end = min(len(data), max(most_bytes, 4))
    while 0 < end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return end or min(len(data), max(most_bytes, 4))
