"""Many terminals at once: cheap clients, some of whom do not read, on environments of which some are flooded."""

import asyncio
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.server import processes_naming
from tests.phone.client import Phone

ATTACHING = 8
"""So many terminals are opened at the same time."""
STALLED_EVERY = 3
"""Of the clients of a flooded environment, one in so many does not read."""
STALLED_BYTES = 8192
"""What the kernel may take for a client that does not read."""
FLOOD = "yes 'all work and no play makes jack a dull boy'"
PATIENCE_S = 60.0


class CrowdTerminal:
    """One terminal's WebSocket, which keeps nothing but the farewell. Unless it ``reads``, it stops when attached."""

    def __init__(self, url: str, *, reads: bool = True) -> None:
        self.url = url
        self.reads = reads
        self.farewell: dict[str, Any] | None = None
        self.close_code: int | None = None
        self._attached = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect and return once the terminal has drawn something."""
        channel = None
        if not self.reads:
            address, channel = urlsplit(self.url), socket.socket()
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BYTES)
            channel.connect((address.hostname, address.port))
        self._connection = await connect(
            self.url, sock=channel, proxy=None, compression=None, ping_interval=None, max_size=None, max_queue=1
        )
        self._reader = asyncio.create_task(self._read(self._connection))
        async with asyncio.timeout(PATIENCE_S):
            await self._attached.wait()

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for frame in connection:
                assert isinstance(frame, str)
                if frame.startswith('{"type":"output"'):
                    self._attached.set()
                    if not self.reads:
                        return
                elif '"reconnect":true' in frame:
                    self.farewell = json.loads(frame)
        except ConnectionClosed:
            pass  # the code says how
        self.close_code = connection.close_code

    @property
    def is_told(self) -> bool:
        """True once it knows when to come back, and was closed for that."""
        return self.farewell is not None and self.farewell["retry_after"] > 0 and self.close_code == 1001

    async def closed(self) -> None:
        """Return when the server has closed; for one that reads."""
        assert self._reader
        await asyncio.wait_for(asyncio.shield(self._reader), PATIENCE_S)

    async def press(self, keys: str) -> None:
        """Type."""
        assert self._connection
        await self._connection.send(json.dumps({"type": "input", "data": keys}))

    async def cut(self) -> None:
        """Vanish."""
        if self._connection and self._reader:
            self._connection.transport.abort()
            await self._connection.wait_closed()
            await self._reader


@dataclass(frozen=True, slots=True)
class Resident:
    """An environment, somebody who may enter it, and the terminals on it."""

    phone: Phone
    environment_id: str
    clients: list[CrowdTerminal] = field(default_factory=list)

    @property
    def secret(self) -> str:
        """What its shell is to remember."""
        return f"kept-{self.environment_id[-8:]}"

    async def remember(self) -> None:
        """Tell the shell."""
        async with self.phone.terminal(self.environment_id) as terminal:
            await terminal.run(f"SECRET={self.secret}; echo s$((1 + 1))t", "s2t")

    async def recall(self, phone: Phone | None = None, *, is_flooded: bool = False) -> None:
        """Ask the shell, by way of another server perhaps; fails when it has forgotten."""
        async with (phone or self.phone).terminal(self.environment_id) as terminal:
            await terminal.wait_for("output")
            if is_flooded:
                await terminal.press("\x03")
                await terminal.see("workspace$", PATIENCE_S)  # Ctrl-C takes with it what was typed already
            await terminal.run("echo is:$SECRET:", f"is:{self.secret}:", PATIENCE_S)

    def processes(self) -> list[int]:
        """Return everything that runs in it or on its behalf, the clients of its tmux excepted."""
        return [pid for pid in processes_naming(self.environment_id) if not is_attachment(pid)]

    def attachments(self) -> list[int]:
        """Return the clients of its tmux, and what brought them in."""
        return [pid for pid in processes_naming(self.environment_id) if is_attachment(pid)]


def is_attachment(pid: int) -> bool:
    """Tell whether a process is a tmux client, or on its way to become one."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"attach-session" in command or b"terminal-attach.sh" in command


async def attach_all(residents: Sequence[Resident], terminals: int, *, flooded: int) -> list[CrowdTerminal]:
    """Open terminals, spread over all environments, and flood the first ``flooded`` of these."""
    turns = asyncio.Semaphore(ATTACHING)

    async def attach(number: int) -> CrowdTerminal:
        row, place = divmod(number, len(residents))
        stalls = place < flooded and row % STALLED_EVERY == STALLED_EVERY - 1
        resident = residents[place]
        client = CrowdTerminal(resident.phone.terminal(resident.environment_id).url, reads=not stalls)
        resident.clients.append(client)
        async with turns:
            await client.open()
        return client

    clients = await asyncio.gather(*(attach(number) for number in range(terminals)))
    for resident in residents[:flooded]:
        await resident.clients[0].press(f"{FLOOD}\r")
    return clients
