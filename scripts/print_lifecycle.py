"""Print the life cycle of environments as a Mermaid diagram and as a table, both from the rules themselves.

``python -m scripts.print_lifecycle`` prints; with ``--write`` it puts the same into ``docs/architecture.md``, between
the markers. Nothing is drawn by hand: starting from a new environment, every command and every event is applied to
everything that can be reached, and what ``decide`` answers is written down.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints

import click

from devpocket.domain import commands
from devpocket.domain.environments import DesiredState, Environment, EnvironmentPhase, ResourceLimits
from devpocket.domain.lifecycle import (
    EVENTS,
    MAXIMUM_RESTARTS,
    MAXIMUM_RETRIES,
    STEADY_AFTER,
    TABLE,
    ContainerObserved,
    DesiredChanged,
    Event,
    InstallationFailed,
    OperationFailed,
    OwnershipTaken,
    RetryDue,
    decide,
)
from devpocket.errors import DevPocketError
from devpocket.ids import EnvironmentId, TemplateId, UserId

PAGE = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"
BEGIN = "<!-- life cycle: written by `python -m scripts.print_lifecycle --write` -->"
END = "<!-- end of the life cycle -->"

LOOKS: tuple[type[Event], ...] = (DesiredChanged, OwnershipTaken, RetryDue)
"""Events that say nothing but: see what is wanted now."""
_COMMANDS = (commands.start, commands.stop, commands.restart, commands.recover, commands.delete)
_BEGIN_AT = datetime(2026, 1, 1, tzinfo=UTC)
_SOON = _BEGIN_AT + timedelta(seconds=1)
_LATER = _BEGIN_AT + STEADY_AFTER
_EXAMPLES: Mapping[type[Event], Mapping[str, Event]] = {
    ContainerObserved: {"running": ContainerObserved(running=True), "gone": ContainerObserved(running=False)},
    InstallationFailed: {"": InstallationFailed("a command failed")},
    OperationFailed: {
        "transient": OperationFailed("not now", transient=True),
        "for good": OperationFailed("never", transient=False),
    },
}


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One answer of the rules: from a phase, by an event, to a phase, with instructions."""

    before: EnvironmentPhase
    event: type[Event]
    detail: str
    """Which form of the event it was, or for a look what was wanted."""
    after: EnvironmentPhase
    instructions: tuple[str, ...]


def steps() -> set[Step]:
    """Return every step that a new environment can come to, whatever happens and whatever its user asks for."""
    found: set[Step] = set()
    new = _new_environment()
    seen, waiting = {_key(new)}, [new]
    while waiting:
        environment = waiting.pop()
        reached = list(_commanded(environment))
        for step, after in _decided(environment):
            found.add(step)
            reached.append(after)
        for after in map(_essence, reached):
            if _key(after) not in seen:
                seen.add(_key(after))
                waiting.append(after)
    return found


def _new_environment() -> Environment:
    return Environment(
        id=EnvironmentId("environment"),
        user_id=UserId("user"),
        name="name",
        template_id=TemplateId("template"),
        template_name="template",
        image="image",
        limits=ResourceLimits("1", "1Gi", "1Gi"),
        created_at=_BEGIN_AT,
        updated_at=_BEGIN_AT,
        phase_since_at=_BEGIN_AT,
    )


def _essence(environment: Environment) -> Environment:
    """Return it with its counts no higher than the rules tell apart, so that the walk comes to an end."""
    return replace(
        environment,
        boot=min(environment.boot - environment.booted, 1),
        booted=0,
        attempt=min(environment.attempt - environment.attempted, 1),
        attempted=0,
        revision=min(environment.revision - environment.revised, 1),
        revised=0,
        retries=min(environment.retries, MAXIMUM_RETRIES),
        restarts=min(environment.restarts, MAXIMUM_RESTARTS),
        phase_since_at=_BEGIN_AT,
    )


def _key(environment: Environment) -> tuple[object, ...]:
    """Return what the rules look at."""
    return (
        environment.phase,
        environment.desired,
        environment.boot != environment.booted,
        environment.attempt != environment.attempted,
        environment.revision != environment.revised,
        environment.retries,
        environment.restarts,
        environment.installation_completed,
    )


def _commanded(environment: Environment) -> Iterator[Environment]:
    yield replace(environment, revision=environment.revision + 1)  # other limits
    for command in _COMMANDS:
        try:
            yield command(environment, _SOON)
        except DevPocketError:
            continue  # refused in this state, so it leads nowhere


def _decided(environment: Environment) -> Iterator[tuple[Step, Environment]]:
    before = environment.phase
    for event in (event for phase, event in TABLE if phase is before):
        for detail, example in (_EXAMPLES.get(event) or {"": _plain(event, environment)}).items():
            for now in (_SOON, _LATER):
                after, instructions = decide(environment, example, now)
                names = tuple(type(each).__name__ for each in instructions)
                shown = _wish(environment) if event in LOOKS else detail
                yield Step(before, event, shown, after.phase, names), after


def _plain(event: type[Event], environment: Environment) -> Event:
    """Return an event that repeats what the environment itself says."""
    said: dict[str, Any] = {name: getattr(environment, name) for name in get_type_hints(event)}
    return event(**said)


def _wish(environment: Environment) -> str:
    if environment.desired is not DesiredState.RUNNING:
        return environment.desired.value
    if environment.phase in (EnvironmentPhase.REQUESTED, EnvironmentPhase.STOPPED):
        return "running"
    if environment.boot != environment.booted:
        return "restart"
    return "recover" if environment.attempt != environment.attempted else "running"


def diagram(walked: set[Step]) -> str:
    """Return the phases and what leads from one to another, as Mermaid's ``stateDiagram-v2``."""
    labels: dict[tuple[EnvironmentPhase, EnvironmentPhase], list[str]] = defaultdict(list)
    for step in sorted(walked, key=_reading_order):
        if step.before is not step.after:
            label = _label(step)
            if label not in labels[step.before, step.after]:
                labels[step.before, step.after].append(label)
    lines = [f"    {before} --> {after}: {', '.join(names)}" for (before, after), names in labels.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {EnvironmentPhase.REQUESTED}", *lines, "    deleted --> [*]"])


def _reading_order(step: Step) -> tuple[object, ...]:
    phases = list(EnvironmentPhase)
    return phases.index(step.before), phases.index(step.after), EVENTS.index(step.event), step.detail


def _label(step: Step) -> str:
    if step.event in LOOKS:
        return f"wanted {step.detail}"
    return f"{step.event.__name__} ({step.detail})" if step.detail else step.event.__name__


def table(walked: set[Step]) -> str:
    """Return what each event does in each phase: where it leads, ``stays``, or a dot where it is refused."""
    rows = ([f"`{event.__name__}`", *(_cell(phase, event, walked) for phase in EnvironmentPhase)] for event in EVENTS)
    return _markdown(["event", *EnvironmentPhase], rows)


def _cell(phase: EnvironmentPhase, event: type[Event], walked: set[Step]) -> str:
    if (phase, event) not in TABLE:
        return "·"
    leads = {step.after for step in walked if (step.before, step.event) == (phase, event)}
    words = [each.value for each in EnvironmentPhase if each in leads and each is not phase]
    return ", ".join([*words, "stays"] if phase in leads else words)


def instructions_table(walked: set[Step]) -> str:
    """Return which instruction is given in which phase, and how it may end there."""
    rows = []
    for phase in EnvironmentPhase:
        given = {name for step in walked if step.after is phase for name in step.instructions}
        outcomes = [event.__name__ for each, event in TABLE if each is phase and event not in LOOKS]
        rows.append([f"`{phase}`", _listed(sorted(given)), _listed(outcomes)])
    return _markdown(["phase", "what is done in it", "what may come of it"], rows)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def render() -> str:
    """Return what stands between the markers."""
    walked = steps()
    return f"```mermaid\n{diagram(walked)}\n```\n\n{instructions_table(walked)}\n\n{table(walked)}\n"


def between_markers(page: str, text: str) -> str:
    """Return ``page`` with ``text`` between its markers; ValueError when it has none."""
    head, found, rest = page.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the page has no place for the life cycle: {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n\n{text}\n{END}{tail}"


@click.command()
@click.option("--write", is_flag=True, help="Put it into docs/architecture.md instead of printing it.")
def main(*, write: bool) -> None:
    """Print the life cycle of environments as a Mermaid diagram and as tables."""
    if write:
        PAGE.write_text(between_markers(PAGE.read_text(encoding="utf-8"), render()), encoding="utf-8")
    else:
        click.echo(render())


if __name__ == "__main__":
    main()
