"""What is really there: documents, leases, slots, sandboxes, folders, control groups; and what is wrong with it."""

import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from actors.slots import slot_member
from devpocket.domain.environments import DesiredState, Environment, EnvironmentPhase
from devpocket.runtime.local.accounting import MARK, all_pids
from devpocket.runtime.local.cgroups import find_cgroups
from devpocket.store.records import environment_from_document
from tests.cluster.ledger import Ledger, Promise

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Truth:
    """One look at the database and at the machine."""

    environments: dict[str, Environment]
    leases: dict[str, Document]
    slots: dict[str, set[str]]
    lifecycle: dict[str, list[datetime]]
    sandboxes: Counter[str]
    homes: Path
    folders: dict[str, set[str]]

    @classmethod
    def look(cls, mongo_url: str, data_dir: Path, known_ids: set[str]) -> "Truth":
        """Read everything, also what ``known_ids``, environments that once were, have left; blocks."""
        with MongoClient[Document](mongo_url, tz_aware=True, tzinfo=UTC) as client:
            database = client.get_default_database()
            environments = [environment_from_document(each) for each in database.environments.find()]
            lifecycle = defaultdict(list)
            for line in database.logs.find({"source": "lifecycle"}).sort("_id", 1):
                lifecycle[line["environment_id"]].append(line["at"])
            leases = {each["_id"]: each for each in database.leases.find()}
            slots = {each["_id"]: set(each["members"]) for each in database.counters.find()}
        folders: dict[str, set[str]] = {
            "environments": {path.name for path in (data_dir / "environments").iterdir()},
            "trash": {path.name for path in (data_dir / "trash").iterdir()},
            "uids": {str(path.readlink()) for path in (data_dir / "uids").iterdir()},
            "control groups": {str(each) for each in find_cgroups(data_dir).left_over()},
        }
        return cls(
            environments={each.id: each for each in environments},
            leases=leases,
            slots=slots,
            lifecycle=dict(lifecycle),
            sandboxes=count_sandboxes(known_ids | {each.id for each in environments} | folders["environments"]),
            homes=data_dir / "environments",
            folders=folders,
        )

    @property
    def environment_leases(self) -> set[str]:
        return {name for name in self.leases if not name.startswith("process:")}

    def counts(self) -> dict[str, int]:
        """Return how many there are of everything that must not leak."""
        return {
            "documents": len(self.environments),
            "leases": len(self.environment_leases),
            "slots": sum(len(members) for members in self.slots.values()),
            "sandboxes": self.sandboxes.total(),
            **{name: len(found) for name, found in self.folders.items()},
        }

    # --- what is wrong -----------------------------------------------------------------------------------------------

    def problems(self, ledger: Ledger) -> list[str]:
        """Return a sentence for everything that was promised and is not so, and for everything that is too much."""
        found = [*ledger.broken, *self._leaks()]
        for promise in ledger.promises:
            found += self._unkept(promise)
        for environment in self.environments.values():
            found += self._unsettled(environment)
        return found

    def _unkept(self, promise: Promise) -> list[str]:
        named = [each for each in self.environments.values() if each.name == promise.name]
        if promise.exists is False and named:
            return [f"{promise.name}: is there although it was deleted or refused"]
        if promise.exists and [each.id for each in named] != [promise.environment_id]:
            return [
                f"{promise.name}: {promise.environment_id} was acknowledged, {[each.id for each in named]} is there"
            ]
        found = []
        for environment in named:
            if environment.desired.value not in promise.possible_desired:
                found.append(f"{promise.name}: is to be {environment.desired}, not one of {promise.possible_desired}")
            if environment.description not in promise.possible_descriptions:
                found.append(f"{promise.name}: {environment.description!r}, not of {promise.possible_descriptions}")
            found += self._lost_lines(promise, environment)
        return found

    def _lost_lines(self, promise: Promise, environment: Environment) -> list[str]:
        home = self.homes / environment.id / "home"
        written = Counter(_lines(home / "lines"))
        found = [
            f"{promise.name}: line {line} is there {written[line]} times"
            for line in promise.typed
            if written[line] != 1
        ]
        found += [f"{promise.name}: line {line} was typed twice" for line in promise.doubted_lines if written[line] > 1]
        if overlaps := _lines(home / "overlaps"):
            found.append(f"{promise.name}: {len(overlaps)} installations ran beside another")
        return found

    def _unsettled(self, environment: Environment) -> list[str]:
        found = []
        shown = f"{environment.name} ({environment.id})"
        if environment.needs_driving or environment.phase is EnvironmentPhase.FAILED:
            found.append(f"{shown}: is {environment.phase}, to be {environment.desired}: {environment.message}")
        wanted = 1 if environment.desired is DesiredState.RUNNING else 0
        if self.sandboxes[environment.id] != wanted:
            found.append(f"{shown}: {self.sandboxes[environment.id]} sandboxes instead of {wanted}")
        lease = self.leases.get(environment.id)
        if lease is None or environment.fence > lease["fence"]:
            found.append(f"{shown}: was written with fence {environment.fence}, its lease is {lease}")
        elif wanted and f"process:{lease['owner']}" not in self.leases:
            found.append(f"{shown}: its owner is no living process: {lease}")
        # In the order of the versions that the lines tell of: with two drivers at once their times would be mixed.
        times = self.lifecycle.get(environment.id, [])
        if times != sorted(times):
            found.append(f"{shown}: life-cycle lines are not in the order of their versions")
        return found

    def _leaks(self) -> list[str]:
        ids: set[str] = set(self.environments)
        running: set[str] = {each.id for each in self.environments.values() if each.desired is DesiredState.RUNNING}
        # One that was stopped before its first start was performed has nothing on the machine yet, or a part.
        never = {each.id for each in self.environments.values() if not each.booted}
        made = ids - (never - self.folders["environments"])
        taken = {member for members in self.slots.values() for member in members}
        expected: dict[str, tuple[set[str], set[str]]] = {
            "slots": (taken, {slot_member(each) for each in self.environments.values()}),
            "leases": (self.environment_leases - ids, set()),
            "sandboxes": (set(self.sandboxes), running),
            "environments": (self.folders["environments"], made),
            "trash": (self.folders["trash"], set()),
            "uids": (self.folders["uids"], made if os.geteuid() == 0 else set()),
            "control groups": (self.folders["control groups"] - running, set()),
        }
        return [
            f"{name}: too many {sorted(there - wanted)}, missing {sorted(wanted - there)}"
            for name, (there, wanted) in expected.items()
            if there != wanted
        ]


def count_sandboxes(environment_ids: set[str]) -> Counter[str]:
    """Return how many PID namespaces hold processes of each of these environments."""
    here, spaces = Path("/proc/self/ns/pid").readlink(), set()
    mark = f"{MARK}=".encode()
    for pid in all_pids():
        folder = Path(f"/proc/{pid}")
        try:
            space = (folder / "ns/pid").readlink()
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended
        ids = {each.removeprefix(mark).decode() for each in variables if each.startswith(mark)}
        if space != here:
            spaces |= {(environment_id, space) for environment_id in ids & environment_ids}
    return Counter(environment_id for environment_id, _ in spaces)


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").split() if path.exists() else []
