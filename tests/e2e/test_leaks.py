"""Terminals that come and go, in good order or cut off at any moment, leave nothing in server and environment."""

import asyncio
import re
import socket
import struct
from pathlib import Path

import httpx
import pytest

from tests.cluster.crowd import FLOOD, Resident
from tests.e2e.conftest import METRICS_TOKEN, Phones
from tests.e2e.server import ServerProcess, wait_until
from tests.phone.sockets import PhoneTerminal

CYCLES = 16
AT_ONCE = 4
GAUGES = re.compile(r"^(devpocket_(?:sockets_open|actor_inbox_depth|actors_alive)\{.*\}) (\S+)$", re.MULTILINE)
KINDS = ("/dev/ptmx", "anon_inode:[pidfd]", "pipe:[]", "socket:[]", "/dev/null")
"""Descriptors that terminals may hold; the store has files of its own that come and go."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for no time: closing sends RST, as a phone's carrier does (socket(7))."""


class Holdings:
    """What a server holds because of one environment."""

    def __init__(self, server: ServerProcess, resident: Resident) -> None:
        assert server.process
        self._server, self._resident = server, resident
        self._process = Path(f"/proc/{server.process.pid}")

    def now(self) -> dict[str, float]:
        """Return how many descriptors by what they lead to, threads, processes, and what the figures say."""
        descriptors = [self._kind(each) for each in (self._process / "fd").iterdir()]
        url, headers = f"{self._server.url}/metrics", {"authorization": f"Bearer {METRICS_TOKEN}"}
        figures = GAUGES.findall(httpx.get(url, headers=headers, timeout=10).text)
        return {
            **{kind: descriptors.count(kind) for kind in KINDS},
            "threads": len(list((self._process / "task").iterdir())),
            "terminals": len(self._resident.attachments()),
            "processes": len(self._resident.processes()),
            **{name: float(value) for name, value in figures},
        }

    @staticmethod
    def _kind(descriptor: Path) -> str:
        """Return ``socket``, ``/dev/ptmx`` and the like: what is left of it without its number."""
        try:
            return re.sub(r"\d+", "", str(descriptor.readlink()))
        except FileNotFoundError:
            return "closed meanwhile"

    def settle_to(self, before: dict[str, float]) -> None:
        """Return once nothing is more than it was; fails with what is when it does not get there."""
        more: dict[str, float] = {}

        def nothing_more() -> bool:
            more.clear()
            more.update({name: count for name, count in self.now().items() if count > before[name]})
            return not more

        try:
            wait_until(nothing_more, "the return of everything")
        except AssertionError as error:
            raise AssertionError(f"still there: {more}; before: {before}") from error


async def come_and_go(terminal: PhoneTerminal) -> None:
    async with terminal:
        await terminal.wait_for("output")
        await terminal.leave()


async def come_and_reset(terminal: PhoneTerminal, number: int) -> None:
    """Be cut off at one moment or another: before the welcome, after it, in the middle of what is printed."""
    async with terminal:
        channel = terminal.connection.transport.get_extra_info("socket")
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        moment = ("", "welcome", "output")[number % 3]
        if moment:
            await terminal.wait_for(moment)


@pytest.mark.parametrize("flooded", [False, True])
async def test_nothing_stays_of_terminals_that_are_gone(phones: Phones, server: ServerProcess, flooded: bool):
    phone = await phones()
    resident = Resident(phone, str((await phone.create())["id"]))
    await phone.until(resident.environment_id, "running")
    turns = asyncio.Semaphore(AT_ONCE)
    async with phone.terminal(resident.environment_id) as watcher:
        await watcher.wait_for("output")
        alone = set(resident.attachments())
        if flooded:
            await watcher.press(f"{FLOOD}\r")

        async def cycle(number: int) -> None:
            async with turns:
                await come_and_go(phone.terminal(resident.environment_id))
                await come_and_reset(phone.terminal(resident.environment_id), number)

        await cycle(2)  # what is made once and kept
        holdings = Holdings(server, resident)
        await asyncio.to_thread(wait_until, lambda: set(resident.attachments()) == alone, "the end of others")
        before = await asyncio.to_thread(holdings.now)
        await asyncio.gather(*(cycle(number) for number in range(CYCLES)))
        await asyncio.to_thread(holdings.settle_to, before)
