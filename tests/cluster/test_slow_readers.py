"""A hundred sockets on one environment whose clients have stopped reading cost little, and nobody else anything."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from tests.cluster.pairs import Pair, eventually
from tests.phone.client import Phone

READERS = 100
PATIENCE_S = 60.0
INBOX = 'actor_inbox_depth{actor="EnvironmentActor"}'
EACH_BYTES = 256 * 1024
"""What a reader may cost. Two megabytes are announced to it, which wait once for all of them."""


@asynccontextmanager
async def deaf(url: str) -> AsyncIterator[ClientConnection]:
    """Connect, and read nothing ever; the kernel takes as little for it as it can."""
    address, channel = urlsplit(url), socket.socket()
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    channel.connect((address.hostname, address.port))
    client = await connect(
        url, sock=channel, proxy=None, compression=None, ping_interval=None, max_size=None, max_queue=1
    )
    try:
        yield client
    finally:
        client.transport.abort()
        await client.wait_closed()


async def test_readers_who_do_not_read_cost_little(pair: Pair, phones: list[Phone], record_testsuite_property):
    phone, server = phones[0], pair.servers[0]
    other = await pair.create(phone)
    environment_id = str((await phone.create("Chatty", "chatty"))["id"])
    await eventually(lambda: pair.document(environment_id).get("phase") == "installing", "the installation")
    async with AsyncExitStack() as stack, phone.terminal(other) as terminal:
        await terminal.run("echo r$((1 + 1))y", "r2y")
        before_bytes = server.memory_bytes
        for _ in range(READERS):
            await stack.enter_async_context(deaf(phone.logs(environment_id).url))
            await eventually(lambda: not pair.figure(0, INBOX), "what each is shown first")
        go = pair.data_dir / "data" / "environments" / environment_id / "home" / "go"
        go.touch()
        await eventually(lambda: pair.is_running(environment_id), "the end of what is printed", PATIENCE_S)
        await phone.command(environment_id, "recover")
        await eventually(lambda: pair.document(environment_id)["attempt"] == 2, "printing it all again")
        await eventually(lambda: pair.is_running(environment_id), "the end of that", PATIENCE_S)
        await terminal.run("echo s$((1 + 1))l", "s2l")
        each_bytes = (server.memory_bytes - before_bytes) / READERS
        record_testsuite_property("deaf_reader_bytes", int(each_bytes))
        assert pair.figure(0, 'sockets_open{kind="logs"}') == READERS
        assert each_bytes < EACH_BYTES
    await eventually(lambda: pair.figure(0, 'sockets_open{kind="logs"}') == 0, "the end of the sockets")
