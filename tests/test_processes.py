"""Several server processes below one parent: what they are told, and that they end with it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from devpocket.processes import LONGEST_PAUSE_S, STEADY_S, next_pause_s, variables_of
from devpocket.settings import load_settings
from tests.e2e.server import ServerProcess, wait_until
from tests.mongodb import mongodb_directory, mongodb_url, with_database

__all__ = ["mongodb_directory", "mongodb_url"]


def test_children_know_what_the_command_line_said():
    settings = load_settings({"METRICS_PORT": "9100"}, given={"HOST": "192.0.2.1", "PORT": "8100"})
    assert variables_of(settings, 0) == {"HOST": "192.0.2.1", "PORT": "8100", "METRICS_PORT": "9100"}
    assert variables_of(settings, 2)["METRICS_PORT"] == "9102"
    assert "METRICS_PORT" not in variables_of(load_settings({}), 1)


def test_one_that_dies_young_again_and_again_does_not_spin():
    pauses_s = [0.0]
    while pauses_s[-1] < LONGEST_PAUSE_S:
        pauses_s.append(next_pause_s(pauses_s[-1], lived_s=0.5))
    assert pauses_s == [0, 1, 2, 4, 8, 16, 30]
    assert next_pause_s(LONGEST_PAUSE_S, lived_s=0.5) == LONGEST_PAUSE_S
    assert next_pause_s(LONGEST_PAUSE_S, lived_s=STEADY_S) == 1


@pytest.fixture
def two_processes(mongodb_url: str, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    url = with_database(mongodb_url, f"processes_{os.getpid()}")
    server = ServerProcess(DATABASE_URL=url, PROCESSES="2", **getattr(request, "param", {}))
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_end_with_the_parent_that_is_asked_to(two_processes, number):
    assert two_processes.process
    children = children_of(two_processes.process.pid)
    two_processes.process.send_signal(number)
    assert two_processes.process.wait(10) == 0
    assert not any(map(is_alive, children))
    assert two_processes.log_tail().count("stopped") == 2


@pytest.mark.parametrize("two_processes", [{"SHUTDOWN_NOTICE": "1m"}], indirect=True)
def test_a_second_signal_ends_all_at_once(two_processes):
    assert two_processes.process
    children = children_of(two_processes.process.pid)
    two_processes.process.send_signal(signal.SIGTERM)
    wait_until(lambda: two_processes.log_tail().count("stopping") == 2, "the beginning of the stop")
    two_processes.process.send_signal(signal.SIGTERM)
    assert two_processes.process.wait(10) == 1
    assert not any(map(is_alive, children))
    assert "stopped" not in two_processes.log_tail()


def test_one_that_hangs_is_killed_when_its_time_is_over(two_processes):
    assert two_processes.process
    children = children_of(two_processes.process.pid)
    os.kill(children[0], signal.SIGSTOP)
    assert two_processes.stop() == 0
    assert not any(map(is_alive, children))
    assert two_processes.log_tail().count("stopped") == 1
    two_processes.start()  # on the same port


@pytest.mark.parametrize("two_processes", [{"SHUTDOWN_NOTICE": "1m"}], indirect=True)
def test_one_that_hangs_is_killed_by_a_second_signal(two_processes):
    assert two_processes.process
    children = children_of(two_processes.process.pid)
    os.kill(children[0], signal.SIGSTOP)
    two_processes.process.send_signal(signal.SIGTERM)
    wait_until(lambda: two_processes.log_tail().count("stopping") == 1, "the beginning of the stop")
    two_processes.process.send_signal(signal.SIGTERM)
    assert two_processes.process.wait(10) == 1
    assert not any(map(is_alive, children))
