"""What clients say on a WebSocket: JSON objects in text frames, hostile until read."""

from dataclasses import dataclass
from typing import Any

import orjson

from devpocket.domain.terminals import TerminalSize

MAX_CELLS = 100_000
"""A size beyond this is no terminal's; up to it sizes are clamped."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a pong."""


@dataclass(frozen=True, slots=True)
class Input:
    """Something was typed."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """The client's screen has another size."""

    size: TerminalSize


ClientMessage = Ping | Input | Resize


def read_message(text: str) -> ClientMessage:
    """Return what a client says; ValueError with a sentence for the client where it cannot be read."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("Send a JSON object.") from None
    if not isinstance(message, dict):
        raise ValueError("Send a JSON object.")  # noqa: TRY004 - a sentence for the client
    match message.get("type"):
        case "input":
            return _input(message)
        case "resize":
            return Resize(TerminalSize(_cells(message, "cols"), _cells(message, "rows")))
        case "ping":
            return Ping()
    raise ValueError('Send a message of the type "input", "resize" or "ping".')


def _input(message: dict[str, Any]) -> Input:
    data = message.get("data")
    if not isinstance(data, str):
        raise ValueError('An input message needs text in "data".')  # noqa: TRY004 - a sentence for the client
    return Input(data.encode())


def _cells(message: dict[str, Any], name: str) -> int:
    value = message.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_CELLS:
        raise ValueError('A resize message needs positive whole numbers in "cols" and "rows".')
    return value
