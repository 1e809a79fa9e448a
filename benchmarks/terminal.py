"""How fast a terminal is: key echo, attaching, saving and floods, each beside what it would be without us.

Run with ``python -m benchmarks.terminal``; needs tmux. Everything happens in a home of its own that is removed again.
"""

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devpocket.domain.terminals import TerminalSize
from devpocket.ids import EnvironmentId, new_id
from devpocket.runtime.child import read_output
from devpocket.runtime.pty_terminal import PtyTerminal
from devpocket.runtime.tmux import TmuxSession, files

KEYS, ATTACHMENTS, SAVES = 400, 30, 15
KEYS_TYPED = (b"v", b"w", b"y", b"z")
"""Letters that end no escape sequence, so that what comes back is the echo."""
FLOOD_BYTES = 20_000_000
SIZE = TerminalSize(80, 24)


@dataclass(frozen=True, slots=True)
class Bench:
    """A home with its session."""

    session: TmuxSession
    variables: dict[str, str]

    async def run(self, argv: Sequence[str]) -> bytes:
        """Return what a short command prints."""
        return await read_output(argv, env=self.variables, limit_bytes=1 << 20, deadline_s=30)

    async def attach(self) -> PtyTerminal:
        """Return an attached terminal."""
        return await PtyTerminal.open(
            self.session.attach_argv(), SIZE, env=self.variables, preface_argv=self.session.history_argv()
        )

    async def bare_shell(self) -> PtyTerminal:
        """Return a shell without tmux."""
        return await PtyTerminal.open(["bash", "--login"], SIZE, env=self.variables | {"TERM": "xterm-256color"})


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """Return median and 99th percentile, in milliseconds."""
    return statistics.median(seconds) * 1000, statistics.quantiles(seconds, n=100)[98] * 1000


async def read_until(terminal: PtyTerminal, text: bytes) -> None:
    """Read until ``text`` came by."""
    tail = b""
    while text not in tail:
        data = await terminal.read()
        assert data, "the terminal ended"
        tail = tail[-len(text) :] + data


async def settle(terminal: PtyTerminal) -> None:
    """Forget what is typed and read until the shell has answered."""
    await terminal.write(b"\x15echo re''ady\r")
    await read_until(terminal, b"ready")
    await asyncio.sleep(0.05)


async def echo_latencies(terminals: Sequence[PtyTerminal]) -> list[list[float]]:
    """Return, for each terminal, how long each key took to come back; they take turns."""
    latencies: list[list[float]] = [[] for _ in terminals]
    for number in range(KEYS):
        for terminal, seconds in zip(terminals, latencies, strict=True):
            key = KEYS_TYPED[number % len(KEYS_TYPED)]
            began = time.perf_counter()
            await terminal.write(key)
            await read_until(terminal, key)
            seconds.append(time.perf_counter() - began)
            await asyncio.sleep(0.002)
            if number % 60 == 59:
                await settle(terminal)
    return latencies


async def timed(times: int, work: Sequence[str], bench: Bench) -> list[float]:
    """Return how long each run of a command took."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        await bench.run(work)
        seconds.append(time.perf_counter() - began)
    return seconds


async def attach_times(bench: Bench) -> tuple[list[float], list[float]]:
    """Return seconds until the terminal is attached with its history, and until it is gone."""
    opening, closing = [], []
    for _ in range(ATTACHMENTS):
        began = time.perf_counter()
        terminal = await bench.attach()
        opening.append(time.perf_counter() - began)
        began = time.perf_counter()
        await terminal.close()
        closing.append(time.perf_counter() - began)
    return opening, closing


async def flood(terminal: PtyTerminal) -> float:
    """Return the MB of a file per second that go through ``cat`` until its end is on the screen."""
    await settle(terminal)
    began = time.perf_counter()
    await terminal.write(b"cat flood; echo do''ne\r")
    await read_until(terminal, b"done")
    return FLOOD_BYTES / 1e6 / (time.perf_counter() - began)


async def bare_tmux_flood(bench: Bench) -> float:
    """Return the same for tmux with script(1) as its terminal, which throws away what it reads."""
    tmux = ["tmux", "-u", "-S", bench.session.socket]
    command = " ".join([*tmux, "attach-session"])
    client = await asyncio.create_subprocess_exec(
        *["script", "--quiet", "--command", f"stty rows 24 cols 80; TERM=xterm-256color {command}", "/dev/null"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=bench.variables,
    )
    while not await bench.run(bench.session.list_clients_argv()):  # noqa: ASYNC110 - another process attaches
        await asyncio.sleep(0.01)
    began = time.perf_counter()
    await bench.run([*tmux, "send-keys", "cat flood; tmux wait-for -S flooded", "Enter", ";", "wait-for", "flooded"])
    seconds = time.perf_counter() - began
    await bench.run([*tmux, "detach-client", "-a", ";", "detach-client"])
    if client.returncode is None:
        client.terminate()
    await client.wait()
    return FLOOD_BYTES / 1e6 / seconds


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process (proc(5))."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def server_memory_bytes(bench: Bench) -> int:
    """Return the resident memory of the tmux server."""
    return resident_bytes(int(await bench.run(["tmux", "-S", bench.session.socket, "display-message", "-p", "#{pid}"])))


def line(name: str, figure: str, beside: str = "") -> None:
    """Print one figure."""
    print(f"{name:<34} {figure:>24}   {beside}")


async def measure(bench: Bench) -> None:
    """Measure and print everything."""
    began = time.perf_counter()
    await bench.run(bench.session.ensure_argv())
    line("first start of a session", f"{(time.perf_counter() - began) * 1000:.0f} ms")
    empty = await server_memory_bytes(bench)

    attached, bare = await bench.attach(), await bench.bare_shell()
    await asyncio.gather(settle(attached), settle(bare))
    ours, theirs = (percentiles(seconds) for seconds in await echo_latencies([attached, bare]))
    for name, mine, other in zip(("p50", "p99"), ours, theirs, strict=True):
        line(f"key echo {name}", f"{mine:.2f} ms", f"{mine / other:.1f} times a bare pty with bash ({other:.2f} ms)")

    bare_speed, speed = await flood(bare), await flood(attached)
    await asyncio.gather(attached.close(), bare.close())
    tmux_speed = await bare_tmux_flood(bench)
    line("flood, attached", f"{speed:.1f} MB/s", f"{speed / tmux_speed:.2f} of bare tmux ({tmux_speed:.1f} MB/s)")
    line("flood, bare pty with bash", f"{bare_speed:.1f} MB/s")
    grown = (await server_memory_bytes(bench) - empty) / 2**20
    line("memory of a full history", f"{grown:.1f} MiB", "20,000 lines of 80 columns")

    opening, closing = await attach_times(bench)
    plain = await timed(ATTACHMENTS, ["tmux", "-S", bench.session.socket, "list-sessions"], bench)
    line(
        "attach with 2,000 lines, p50",
        f"{percentiles(opening)[0]:.0f} ms",
        f"a tmux command: {percentiles(plain)[0]:.1f} ms",
    )
    line("close, p50", f"{percentiles(closing)[0]:.1f} ms")
    line("save, p50", f"{percentiles(await timed(SAVES, bench.session.save_argv(), bench))[0]:.0f} ms")
    line(
        "ensure what is there, p50", f"{percentiles(await timed(SAVES, bench.session.ensure_argv(), bench))[0]:.0f} ms"
    )
    await bench.run(["tmux", "-S", bench.session.socket, "kill-server"])
    began = time.perf_counter()
    await bench.run(bench.session.ensure_argv())
    line("start with a saved state", f"{(time.perf_counter() - began) * 1000:.0f} ms")


async def main() -> None:
    """Make a home, measure, remove it."""
    folder = Path(tempfile.mkdtemp(prefix="devpocket-"))
    home, scripts = folder / "home", folder / "files"
    for made in (home, home / "workspace", scripts):
        made.mkdir()
    for name, content in files().items():
        (scripts / name).write_bytes(content)
    (home / ".profile").write_text("PS1='$ ' HISTFILE=/dev/null\ncd ~/workspace\n")
    text = b"".join(b"%077d\n" % number for number in range(1000))
    (home / "workspace" / "flood").write_bytes((text * (FLOOD_BYTES // len(text) + 1))[:FLOOD_BYTES])
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
    bench = Bench(TmuxSession(EnvironmentId(new_id()), str(home), str(scripts)), variables)
    try:
        await measure(bench)
    finally:
        await bench.run(["tmux", "-S", bench.session.socket, "kill-server"])
        shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main())
