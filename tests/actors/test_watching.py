"""Whoever watches is told of every change once, also of those that no event told of."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from actors.ports import Ports
from actors.watching import Watching
from devpocket.domain.environments import DesiredState, Environment, EnvironmentPhase
from devpocket.domain.events import EnvironmentEvent
from tests.auth.clocks import SetClock
from tests.handlers.fakes import environment

RUNNING = environment(version=5)
STOPPING = replace(RUNNING, desired=DesiredState.STOPPED, phase=EnvironmentPhase.STOPPING, version=6)


class Watcher:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.phases: list[object] = []

    def __call__(self, event: EnvironmentEvent) -> None:
        self.phases.append(event.data["phase"])


@pytest.fixture
def watching() -> Watching:
    return Watching(cast("Ports", SimpleNamespace(clock=SetClock())), RUNNING.id)


def add(watching: Watching, name: str, seen: Environment) -> Watcher:
    watcher = Watcher()
    watching.add(name, watcher, seen)
    return watcher


def test_a_change_without_an_event_is_told_once(watching: Watching) -> None:
    watcher = add(watching, "one", RUNNING)
    for _ in range(2):
        watching.catch_up(STOPPING)
    assert watcher.phases == ["stopping"]


def test_those_who_watch_already_are_told_what_a_newcomer_has_seen(watching: Watching) -> None:
    first = add(watching, "one", RUNNING)
    second = add(watching, "two", STOPPING)
    watching.catch_up(STOPPING)
    assert (first.phases, second.phases) == (["stopping"], [])


def test_a_newcomer_after_a_time_without_watchers_is_told_what_comes_back(watching: Watching) -> None:
    add(watching, "one", RUNNING)
    watching.remove("one")
    watcher = add(watching, "two", STOPPING)
    watching.catch_up(replace(RUNNING, version=9))
    assert watcher.phases == ["running"]
