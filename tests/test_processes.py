"""Several server processes below one parent: what they are told, and that they end with it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from devpocket.processes import variables_of
from devpocket.settings import load_settings
from tests.e2e.server import ServerProcess, wait_until
from tests.mongodb import mongodb_directory, mongodb_url, with_database

__all__ = ["mongodb_directory", "mongodb_url"]


def test_children_know_what_the_command_line_said():
    settings = load_settings({"METRICS_PORT": "9100"}, given={"HOST": "192.0.2.1", "PORT": "8100"})
    assert variables_of(settings, 0) == {"HOST": "192.0.2.1", "PORT": "8100", "METRICS_PORT": "9100"}
    assert variables_of(settings, 2)["METRICS_PORT"] == "9102"
    assert "METRICS_PORT" not in variables_of(load_settings({}), 1)


@pytest.fixture
def two_processes(mongodb_url: str) -> Iterator[ServerProcess]:
    server = ServerProcess(DATABASE_URL=with_database(mongodb_url, f"processes_{os.getpid()}"), PROCESSES="2")
    try:
        server.start()
        wait_until(lambda: server.log_tail().count("listens on") == 2, "the start of both", 30.0)
        yield server
    finally:
        server.close()


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # one that nobody has reaped has none
    except OSError:
        return False


def test_all_look_when_the_parent_is_asked_and_a_dead_one_is_replaced(two_processes):
    assert two_processes.process
    parent = two_processes.process.pid
    os.kill(parent, signal.SIGUSR1)
    wait_until(lambda: two_processes.log_tail().count("busy actors") == 2, "a look at both")
    first, second = children_of(parent)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(children_of(parent)) == 2 and first not in children_of(parent), "another process")
    assert second in children_of(parent)
    wait_until(lambda: two_processes.log_tail().count("listens on") == 3, "its start")
    assert two_processes.stop() == 0


def test_they_end_with_a_parent_that_was_killed(two_processes):
    assert two_processes.process
    children = children_of(two_processes.process.pid)
    assert len(children) == 2
    two_processes.kill()
    wait_until(lambda: not any(map(is_alive, children)), "the end of the children")
    assert two_processes.log_tail().count("stopped") == 2
