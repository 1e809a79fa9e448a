"""The printed life cycle is that of the rules, and the one in the documentation is the printed one."""

import re
import subprocess
import sys

import pytest

from devpocket.domain.environments import EnvironmentPhase
from devpocket.domain.lifecycle import EVENTS, TABLE
from scripts.print_lifecycle import BEGIN, END, PAGE, Step, between_markers, diagram, render, steps, table

Phase = EnvironmentPhase


@pytest.fixture(scope="module")
def walked() -> set[Step]:
    return steps()


def test_the_documentation_shows_the_present_life_cycle():
    written = PAGE.read_text(encoding="utf-8")
    assert written == between_markers(written, render()), "run: python -m scripts.print_lifecycle --write"


def test_every_pair_of_the_table_is_walked(walked):
    assert {(step.before, step.event) for step in walked} == set(TABLE)


def test_the_diagram_has_every_edge_once(walked):
    drawn = re.findall(r"^    (\w+) --> (\w+): (.+)$", diagram(walked), re.MULTILINE)
    edges = [(before, after) for before, after, _ in drawn]
    assert len(edges) == len(set(edges))
    assert set(edges) == {(step.before, step.after) for step in walked if step.before is not step.after}
    labels = {(before, after): label.split(", ") for before, after, label in drawn}
    assert labels["configuring", "running"] == ["TerminalReady"]
    assert labels["running", "stopping"] == ["wanted restart", "wanted stopped"]


def test_every_phase_is_reached_and_left(walked):
    assert {step.after for step in walked} >= set(Phase) - {Phase.REQUESTED}
    assert {step.before for step in walked} == set(Phase)


def test_deletion_is_reached_from_everywhere_and_left_for_nothing_else(walked):
    into = {step.before for step in walked if step.after is Phase.DELETING}
    out_of = {step.after for step in walked if step.before is Phase.DELETING}
    assert into == set(Phase) - {Phase.DELETED}
    assert out_of == {Phase.DELETING, Phase.DELETED}


def test_the_table_tells_refusal_from_staying(walked):
    rows = {row.split(" | ")[0].strip("| `"): row.strip("| ").split(" | ")[1:] for row in table(walked).splitlines()}
    phases = list(Phase)
    assert set(rows) == {"event", "---", *(event.__name__ for event in EVENTS)}
    assert rows["ContainerDeleted"][phases.index(Phase.DELETING)] == "deleted"
    assert rows["ContainerDeleted"][phases.index(Phase.RUNNING)] == "·"
    assert rows["DesiredChanged"][phases.index(Phase.DELETED)] == "stays"


def test_a_page_without_a_place_for_it_is_refused():
    assert between_markers(f"a\n{BEGIN}old{END}b", "new") == f"a\n{BEGIN}\n\nnew\n{END}b"
    with pytest.raises(ValueError, match="no place"):
        between_markers("a page", "new")


def test_the_command_prints_it():
    printed = subprocess.run(
        [sys.executable, "-m", "scripts.print_lifecycle"], capture_output=True, text=True, check=True, timeout=60
    )
    assert printed.stdout == render() + "\n"
