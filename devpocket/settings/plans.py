"""Reading the plans file: all problems at once, each with the file and the field."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from devpocket.domain.environments import ResourceLimits
from devpocket.domain.plans import Plan, Plans
from devpocket.errors import ConfigurationError
from devpocket.settings import values
from devpocket.settings.values import Kind, listing

_NEVER = "never"


def _idle_time() -> Kind[float | None]:
    spans = values.duration(10, "365d")
    return Kind(lambda text: None if text == _NEVER else spans.read(text), f"{_NEVER}, or {spans.allowed}")


_PLAN_FIELDS: dict[str, Kind[Any]] = {
    "environments": values.whole(0, 10_000),
    "sockets": values.whole(1, 1000),
    "idle_timeout": _idle_time(),
    "wake_on_connect": values.flag(),
}
_RESOURCES = ("default_resources", "max_resources")


def load_plans(path: Path) -> Plans:
    """Return the plans in the file ``path``; raises :class:`ConfigurationError`, one line per problem."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"PLANS_FILE: {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"PLANS_FILE: {path} is not YAML: {error}") from error
    reader = _Reader()
    plans = reader.plans(document)
    if plans is None:
        raise ConfigurationError(
            listing("The plans do not allow a start:", [f"{path}: {problem}" for problem in reader.problems])
        )
    return plans


class _Reader:
    """Walks the document and gathers what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def plans(self, document: Any) -> Plans | None:
        """Return the plans, or None after a problem."""
        top = self._table(document, "the file", ("default", "plans"))
        entries = self._table(top.get("plans"), "plans", None) if top is not None else None
        if top is None or entries is None:
            return None
        plans = {str(name): self._plan(str(name), entry) for name, entry in entries.items()}
        default = str(top.get("default", ""))
        if default not in plans:
            self.problems.append(f"default: got {default!a}; allowed is a plan of this file: {', '.join(plans)}")
        by_name = {name: plan for name, plan in plans.items() if plan}
        return None if self.problems else Plans(by_name, by_name[default])

    def _plan(self, name: str, entry: Any) -> Plan | None:
        place, before = f"plans.{name}", len(self.problems)
        table = self._table(entry, place, (*_PLAN_FIELDS, *_RESOURCES))
        if table is None:
            return None
        read = {field: self._value(table, f"{place}.{field}", kind) for field, kind in _PLAN_FIELDS.items()}
        default, most = (self._resources(table.get(field), f"{place}.{field}") for field in _RESOURCES)
        if len(self.problems) > before or default is None or most is None:
            return None
        plan = Plan(
            name=name,
            environments=read["environments"],
            sockets=read["sockets"],
            idle_timeout_s=read["idle_timeout"],
            wake_on_connect=read["wake_on_connect"],
            default_resources=default,
            max_resources=most,
        )
        for resource in plan.exceeded(default):
            self.problems.append(f"{place}.default_resources.{resource}: is more than max_resources")
        return plan

    def _value(self, table: dict[str, Any], place: str, kind: Kind[Any]) -> Any:
        given = table.get(place.rpartition(".")[2])
        try:
            return kind.read("" if given is None else str(given))
        except ValueError:
            shown = "nothing" if given is None else ascii(given)[:60]
            self.problems.append(f"{place}: got {shown}; allowed is {kind.allowed}")

    def _resources(self, entry: Any, place: str) -> ResourceLimits | None:
        table = self._table(entry, place, ("cpu", "memory", "storage"))
        if table is None:
            return None
        try:
            return ResourceLimits(cpu=str(table["cpu"]), memory=str(table["memory"]), storage=str(table["storage"]))
        except KeyError as error:
            self.problems.append(f"{place}.{error.args[0]}: is missing")
        except ValueError as error:
            self.problems.append(f"{place}: {error}")
        return None

    def _table(self, value: Any, place: str, known: Iterable[str] | None) -> dict[str, Any] | None:
        """Return ``value`` if it is a table, after a look for fields that nobody reads; else None."""
        if not isinstance(value, dict):
            shown = "nothing" if value is None else ascii(value)[:60]
            self.problems.append(f"{place}: got {shown}; allowed is a table")
            return None
        names = list(known or value)
        for unknown in [name for name in value if name not in names]:
            close = difflib.get_close_matches(str(unknown), names, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            self.problems.append(f"{place}: unknown field {unknown!a}{hint}")
        return value
