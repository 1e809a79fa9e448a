"""Actors on the loop against ``pykka.ThreadingActor``: memory, asks per CPU second, and stopping.

    python -m benchmarks.actors [--runs 3] [--actors 10000] [--threads 2000]

Every figure is the median of ``--runs`` fresh processes, with the smallest and the largest in brackets.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pykka
import uvloop

from actors.directory import Directory
from actors.loop import LoopActor, Message, handles, stop_all

ASKS = 30_000
CLIENTS = 100


@dataclass(frozen=True, slots=True)
class Ping(Message[int]):
    """Answered with its number."""

    number: int


class OnLoop(LoopActor):
    """The subject."""

    def __init__(self, _key: int = 0) -> None:
        super().__init__()

    @handles(Ping)
    def ping(self, message: Ping) -> int:
        """Answer."""
        return message.number


class Dozing(OnLoop):
    """The subject with a retirement timer."""

    idle_timeout_s = 600.0


class OnThread(pykka.ThreadingActor):
    """The peer."""

    def on_receive(self, message: Any) -> Any:
        """Answer."""
        return message.number


def resident_bytes() -> int:
    """Return what this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def loop_memory(count: int, kind: type[OnLoop] = OnLoop) -> float:
    """Return bytes per idle actor that has answered once."""
    gc.collect()
    before = resident_bytes()
    refs = [kind.start() for _ in range(count)]
    for ref in refs:
        await ref.ask(Ping(1), block=False)
    gc.collect()
    per_actor = (resident_bytes() - before) / count
    await stop_all(deadline_s=60)
    return per_actor


async def dozing_memory(count: int) -> float:
    """Return bytes per idle actor with a retirement timer."""
    return await loop_memory(count, Dozing)


def thread_memory(count: int) -> float:
    """Return bytes per idle thread actor, without the kernel's stack of 16 KiB."""
    gc.collect()
    before = resident_bytes()
    refs = [OnThread.start() for _ in range(count)]
    for ref in refs:
        ref.ask(Ping(1))
    gc.collect()
    per_actor = (resident_bytes() - before) / count
    pykka.ActorRegistry.stop_all()
    return per_actor


async def loop_sequential(_count: int) -> float:
    """Return asks per CPU second of one client that waits for each reply."""
    ref = await OnLoop.spawn()
    begun = time.process_time()
    for number in range(ASKS):
        await ref.ask(Ping(number), block=False)
    rate = ASKS / (time.process_time() - begun)
    await stop_all(deadline_s=5)
    return rate


async def directory_sequential(_count: int) -> float:
    """Return the same through a directory, with its deadline for each ask."""
    directory: Directory[int] = Directory(OnLoop)
    await directory.ask(1, Ping(1))
    begun = time.process_time()
    for number in range(ASKS):
        await directory.ask(1, Ping(number))
    rate = ASKS / (time.process_time() - begun)
    await directory.stop_all(deadline_s=5)
    return rate


def thread_sequential(_count: int) -> float:
    """Return asks per CPU second of one thread that waits for each reply."""
    ref = OnThread.start()
    begun = time.process_time()
    for number in range(ASKS):
        ref.ask(Ping(number))
    rate = ASKS / (time.process_time() - begun)
    ref.stop()
    return rate


async def loop_clients(_count: int) -> float:
    """Return asks per CPU second of many clients, each with an actor of its own."""
    refs = [await OnLoop.spawn() for _ in range(CLIENTS)]

    async def client(index: int) -> None:
        for number in range(ASKS // CLIENTS):
            await refs[index].ask(Ping(number), block=False)

    begun = time.process_time()
    await asyncio.gather(*map(client, range(CLIENTS)))
    rate = ASKS / (time.process_time() - begun)
    await stop_all(deadline_s=5)
    return rate


def thread_clients(_count: int) -> float:
    """Return asks per CPU second of many threads, each with an actor of its own."""
    refs = [OnThread.start() for _ in range(CLIENTS)]

    def client(index: int) -> None:
        for number in range(ASKS // CLIENTS):
            refs[index].ask(Ping(number))

    clients = [threading.Thread(target=client, args=(index,)) for index in range(CLIENTS)]
    begun = time.process_time()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    rate = ASKS / (time.process_time() - begun)
    pykka.ActorRegistry.stop_all()
    return rate


async def loop_stop(count: int) -> float:
    """Return the seconds that it takes to stop all, scaled to 10,000."""
    for _ in range(count):
        OnLoop.start()
    await asyncio.sleep(0)
    begun = time.perf_counter()
    report = await stop_all(deadline_s=60)
    assert report.stopped == count
    return (time.perf_counter() - begun) * 10_000 / count


def thread_stop(count: int) -> float:
    """Return the seconds that Pykka takes to stop all, scaled to 10,000."""
    for _ in range(count):
        OnThread.start()
    begun = time.perf_counter()
    pykka.ActorRegistry.stop_all()
    return (time.perf_counter() - begun) * 10_000 / count


LOOP_CASES: dict[str, Callable[[int], Coroutine[Any, Any, float]]] = {
    case.__name__: case
    for case in (loop_memory, dozing_memory, loop_sequential, directory_sequential, loop_clients, loop_stop)
}
THREAD_CASES: dict[str, Callable[[int], float]] = {
    case.__name__: case for case in (thread_memory, thread_sequential, thread_clients, thread_stop)
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what is measured, of whom, against whom, and what it should be."""

    title: str
    loop: str
    case: str
    peer: str
    unit: str
    aim: str
    reached: Callable[[float, float], bool] | None = None
    """Whether a figure, given how many times better than the peer's it is, is what it should be."""


def is_small(own: float, _ratio: float) -> bool:
    """Tell whether an actor takes less than 4 KiB."""
    return own < 4096


def is_twice_as_good(_own: float, ratio: float) -> bool:
    """Tell whether it is more than twice as good as the peer."""
    return ratio > 2


def is_quick(own: float, _ratio: float) -> bool:
    """Tell whether it takes less than 2 s."""
    return own < 2


ASKS_UNIT = "asks/CPU s"
ROWS = (
    Row("memory, idle", "uvloop", "loop_memory", "thread_memory", "B", "< 4096 B", is_small),
    Row("  with retirement timer", "uvloop", "dozing_memory", "thread_memory", "B", "< 4096 B", is_small),
    Row("100 clients, 100 actors", "uvloop", "loop_clients", "thread_clients", ASKS_UNIT, "> 2x", is_twice_as_good),
    Row("1 client, 1 actor", "uvloop", "loop_sequential", "thread_sequential", ASKS_UNIT, "> 2x", is_twice_as_good),
    Row("  through a directory", "uvloop", "directory_sequential", "thread_sequential", ASKS_UNIT, ""),
    Row("100 clients, 100 actors", "asyncio", "loop_clients", "thread_clients", ASKS_UNIT, "> 2x", is_twice_as_good),
    Row("1 client, 1 actor", "asyncio", "loop_sequential", "thread_sequential", ASKS_UNIT, ""),
    Row("stop 10,000", "uvloop", "loop_stop", "thread_stop", "s", "< 2 s", is_quick),
)


def run_here(case: str, loop: str, count: int) -> float:
    """Run one case in this process."""
    if case in THREAD_CASES:
        return THREAD_CASES[case](count)
    run = uvloop.run if loop == "uvloop" else asyncio.run
    return run(LOOP_CASES[case](count))


def measure(case: str, loop: str, count: int, runs: int) -> list[float]:
    """Run one case in ``runs`` fresh processes; return what they measured, sorted."""
    command = [sys.executable, "-m", "benchmarks.actors", "--case", case, "--loop", loop, "--actors", str(count)]
    root = Path(__file__).parents[1]
    outputs = [subprocess.run(command, check=True, capture_output=True, cwd=root).stdout for _ in range(runs)]
    return sorted(float(json.loads(output)) for output in outputs)


def shown(figures: list[float]) -> str:
    """Return the median and the range for a table."""
    digits = 2 if figures[-1] < 100 else 0
    median, least, most = (f"{figure:,.{digits}f}" for figure in (statistics.median(figures), figures[0], figures[-1]))
    return f"{median} [{least}..{most}]"


def print_table(actors: int, threads: int, runs: int) -> None:
    """Measure and print everything."""
    print(f"{actors:,} loop actors, {threads:,} thread actors, {runs} runs each; Python {sys.version.split()[0]}, ")
    print(f"pykka {version('pykka')}, {os.cpu_count()} CPUs. Stop times are scaled to 10,000 actors.\n")
    print(f"{'':26}{'loop':9}{'':12}{'LoopActor':>28}{'ThreadingActor':>28}{'better':>9}  aim")
    peers = {row.peer: measure(row.peer, "none", threads, runs) for row in ROWS}
    for row in ROWS:
        own, peer = measure(row.case, row.loop, actors, runs), peers[row.peer]
        ratio = statistics.median(own) / statistics.median(peer)
        better = ratio if row.unit.startswith("asks") else 1 / ratio
        verdict = ""
        if row.reached is not None:
            verdict = f"{row.aim}: {'yes' if row.reached(statistics.median(own), better) else 'NO'}"
        print(f"{row.title:26}{row.loop:9}{row.unit:12}{shown(own):>28}{shown(peer):>28}{better:>8.1f}x  {verdict}")


def main() -> None:
    """Print the table, or with ``--case`` the figure of one case as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--actors", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2_000)
    parser.add_argument("--case", choices=[*LOOP_CASES, *THREAD_CASES], help=argparse.SUPPRESS)
    parser.add_argument("--loop", default="uvloop", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(run_here(arguments.case, arguments.loop, arguments.actors)))
    else:
        print_table(arguments.actors, arguments.threads, arguments.runs)


if __name__ == "__main__":
    main()
