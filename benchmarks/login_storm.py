"""Whether a storm of sign-ins stalls somebody who types: key echo through the server, idle and under 50 logins at once.

Run with ``python -m benchmarks.login_storm``; starts a server of its own with its default settings. The logins come
from a process of their own, so that what is measured is the server and not this program.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence

import httpx

from tests.e2e.server import ServerProcess
from tests.phone.client import PASSWORD, Phone
from tests.phone.sockets import PhoneTerminal

LOGINS, ROUNDS, KEYS = 50, 5, 100
AIM_MS = 50.0
PAUSE_S = 0.02
"""Between two keys: somebody types fast."""


async def storm(url: str) -> None:
    """Send all logins at once, each for an account of its own, and print how long the slowest took."""
    os.nice(10)  # elsewhere the clients have CPUs of their own
    limits = httpx.Limits(max_connections=LOGINS)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        await asyncio.gather(*(http.get("/health") for _ in range(LOGINS)))  # connect first
        began_s = time.perf_counter()
        bodies = [{"username_or_email": f"stormy_{number}", "password": PASSWORD} for number in range(LOGINS)]
        answers = await asyncio.gather(*(http.post("/api/v1/auth/login", json=body) for body in bodies))
        took_s = time.perf_counter() - began_s
    assert {answer.status_code for answer in answers} == {200}, answers
    print(took_s)


async def echo_times_s(terminal: PhoneTerminal, until: "asyncio.Task[float] | None" = None) -> list[float]:
    """Return how long each key took to come back: as long as ``until`` runs, or for a number of keys."""
    times_s: list[float] = []
    while not until.done() if until else len(times_s) < KEYS:
        began_s = time.perf_counter()
        await terminal.echo_of("vwyz"[len(times_s) % 4])
        times_s.append(time.perf_counter() - began_s)
        await asyncio.sleep(PAUSE_S)
        if len(times_s) % 60 == 59:
            await terminal.press("\x15")  # Ctrl-U: an empty line again
            await asyncio.sleep(0.1)
    return times_s


async def storm_elsewhere(url: str) -> float:
    """Let another process do its logins; return how long they took, in seconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.login_storm", url, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return float(said)


def show(name: str, times_s: Sequence[float]) -> None:
    """Print median, 99th percentile and maximum of some times."""
    ms = sorted(each * 1000 for each in times_s)
    p99 = statistics.quantiles(ms, n=100)[98]
    print(
        f"{name:<36} p50 {statistics.median(ms):6.1f} ms   p99 {p99:6.1f} ms   max {ms[-1]:6.1f} ms   ({len(ms)} keys)"
    )


async def measure(server: ServerProcess) -> None:
    """Register everybody, then measure and print."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        for number in range(LOGINS):
            body = {"username": f"stormy_{number}", "email": f"stormy_{number}@example.org", "password": PASSWORD}
            (await http.post("/api/v1/auth/register", json=body)).raise_for_status()
    async with Phone(server.url, username="typist") as phone:
        await phone.sign_up()
        environment_id = (await phone.create())["id"]
        await phone.until(environment_id, "running")
        async with phone.terminal(environment_id) as terminal:
            await terminal.wait_for("welcome")
            await terminal.run("echo re''ady", "ready")
            show("key echo, nobody signs in", await echo_times_s(terminal))
            under_s, took_s = [], []
            for _ in range(ROUNDS):
                storming = asyncio.create_task(storm_elsewhere(server.url))
                under_s += await echo_times_s(terminal, storming)
                took_s.append(storming.result())
        await phone.delete(environment_id)
    show(f"key echo, {LOGINS} sign in at once", under_s)
    print(f"{LOGINS} logins, from first to last       {statistics.median(took_s):.2f} s")
    print(f"aim: no key above {AIM_MS:.0f} ms: {'met' if max(under_s) * 1000 < AIM_MS else 'missed'}")


def main() -> None:
    """Start a server and measure; or with a URL, be the storm."""
    if len(sys.argv) > 1:
        asyncio.run(storm(sys.argv[1]))
        return
    server = ServerProcess(AUTH_RATE_LIMIT_MAX_REQUESTS="100000", RATE_LIMIT_MAX_REQUESTS="100000")
    try:
        server.start()
        asyncio.run(measure(server))
    finally:
        server.close()


if __name__ == "__main__":
    main()
