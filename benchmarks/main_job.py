"""How quick the main job is, as a phone sees it: creating, running, connecting, the echo of a key, coming back.

Run with ``python -m benchmarks.main_job``: a server process of its own, one person, one environment after the other.
"""

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.server import ServerProcess
from tests.phone.client import Phone

ENVIRONMENTS, KEYS_EACH = 15, 20
LETTERS = "vwyz"


class Figures:
    """What was measured, in seconds, by name."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        started = time.perf_counter()
        yield
        self._seconds[name].append(time.perf_counter() - started)

    def print(self) -> None:
        """Print median, 95th percentile and maximum, in milliseconds."""
        print(f"{'milliseconds':32}{'median':>9}{'95 %':>9}{'max':>9}")
        for name, seconds in self._seconds.items():
            ordered = sorted(seconds)
            figures = (statistics.median(ordered), ordered[int(len(ordered) * 0.95)], ordered[-1])
            print(f"{name:32}" + "".join(f"{figure * 1000:9.1f}" for figure in figures))


async def one_environment(phone: Phone, template_id: str, figures: Figures) -> None:
    """Make an environment, type into it, lose the connection, come back, delete it."""
    body = {"name": "Benchmark", "template_id": template_id, "resource_limits": None, "environment_variables": None}
    with figures.time("ubuntu is running"):
        with figures.time("creating answers 201"):
            answer = await phone.call("POST", "/environments/", body)
        environment_id = answer.json()["id"]
        await phone.until(environment_id, "running", every_s=0.01)
    with figures.time("first connection, to the prompt"):
        terminal = await phone.terminal(environment_id).__aenter__()
        await terminal.see("$")
    await terminal.run("clear; echo r$((1 + 1))y", "r2y")
    for number in range(KEYS_EACH):
        with figures.time("echo of a key"):
            await terminal.echo_of(LETTERS[number % len(LETTERS)])
    await terminal.cut()
    with figures.time("coming back, to the same screen"):
        terminal = await phone.terminal(environment_id).__aenter__()
        await terminal.see("r2y")
    await terminal.cut()
    with figures.time("deleting answers 204"):
        await phone.delete(environment_id)


async def main(url: str) -> None:
    """Do it several times over, and print the figures."""
    figures = Figures()
    async with Phone(url, username="benchmark") as phone:
        with figures.time("signing up"):
            await phone.sign_up()
        template_id = await phone.template_id("ubuntu")
        for _ in range(ENVIRONMENTS):
            await one_environment(phone, template_id, figures)
    figures.print()


if __name__ == "__main__":
    server = ServerProcess(LOG_LEVEL="WARNING")
    try:
        server.start()
        asyncio.run(main(server.url))
    finally:
        server.close()
