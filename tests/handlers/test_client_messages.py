"""What clients say on a WebSocket, most of it wrong."""

import json
from typing import Any

import pytest

from devpocket.domain.terminals import MAXIMUM_COLUMNS, MAXIMUM_ROWS, TerminalSize
from handlers.client_messages import Input, Ping, Resize, read_message


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ({"type": "ping"}, Ping()),
        ({"type": "ping", "timestamp": 1}, Ping()),
        ({"type": "input", "data": "\r"}, Input(b"\r")),
        ({"type": "input", "data": ""}, Input(b"")),
        ({"type": "input", "data": "é\x1b[A\x00"}, Input(b"\xc3\xa9\x1b[A\x00")),
        ({"type": "resize", "cols": 80, "rows": 24}, Resize(TerminalSize(80, 24))),
        ({"type": "resize", "cols": 80.0, "rows": 24}, Resize(TerminalSize(80, 24))),
        ({"type": "resize", "cols": 99_999, "rows": 99_999}, Resize(TerminalSize(MAXIMUM_COLUMNS, MAXIMUM_ROWS))),
    ],
)
def test_what_the_app_says_is_read(message: dict[str, Any], read: object) -> None:
    assert read_message(json.dumps(message)) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "null",
        "[]",
        '"input"',
        "{}",
        '{"type": null}',
        '{"type": ["input"]}',
        '{"type": "exec"}',
        '{"type": "input"}',
        '{"type": "input", "data": null}',
        '{"type": "input", "data": 5}',
        '{"type": "input", "data": {"a": 1}}',
        r'{"type": "input", "data": "\ud800"}',
        '{"type": "resize"}',
        '{"type": "resize", "cols": "80", "rows": 24}',
        '{"type": "resize", "cols": true, "rows": 24}',
        '{"type": "resize", "cols": 0, "rows": 24}',
        '{"type": "resize", "cols": -1, "rows": 24}',
        '{"type": "resize", "cols": 80.5, "rows": 24}',
        '{"type": "resize", "cols": 1e300, "rows": 24}',
        "[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_answered_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        read_message(text)
