"""The description says what the server does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.health import VERSION
from handlers.openapi import describe, operations_of
from handlers.paths import Route
from handlers.routes import ROUTES
from tests.e2e.server import ServerProcess
from tests.handlers.conftest import register

SPEC = describe(ROUTES, VERSION)
CONFIGURATION = """
# A wrong mailed code is well-formed and refused with 400, which the app shows; 422 it would hide.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 429, 503]

# Google is not set up on the tests' server, which is said with 503.
[[operations]]
include-path = "/api/v1/auth/google"
checks.not_a_server_error.enabled = false
"""
ENDS_THE_SESSION = r"(auth/logout|users/me$|users/me/sessions|change-password)"


def schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON value."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from schemas(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from schemas(inner)


def test_every_route_is_described() -> None:
    described = {(verb, path) for path, item in SPEC["paths"].items() for verb in item if verb != "parameters"}
    assert described == {(verb, route.path) for route in ROUTES for verb, _ in operations_of(route)}


def test_every_reference_leads_somewhere() -> None:
    for each in schemas(SPEC):
        reference = each.get("$ref")
        if isinstance(reference, str):
            assert reference.rpartition("/")[2] in SPEC["components"]["schemas"]


def test_operations_have_names_of_their_own() -> None:
    names = [
        entry["operationId"] for item in SPEC["paths"].values() for verb, entry in item.items() if verb != "parameters"
    ]
    assert len(names) == len(set(names))


def test_whoever_needs_a_permission_may_hear_401_403_and_429() -> None:
    for path, item in SPEC["paths"].items():
        for verb, entry in item.items():
            if verb != "parameters" and entry["security"]:
                assert {"401", "403", "429"} <= set(entry["responses"]), f"{verb} {path}"


@pytest.mark.parametrize("name", ["UserAnswer", "TokenAnswer", "EnvironmentAnswer", "TemplateAnswer", "ErrorAnswer"])
def test_every_field_of_an_answer_is_promised(name: str) -> None:
    schema = SPEC["components"]["schemas"][name]
    assert set(schema["required"]) == set(schema["properties"])


def test_no_default_contradicts_its_type() -> None:
    assert not [each for each in schemas(SPEC) if "default" in each and each["default"] is None]


def test_it_is_small_enough_to_be_read_on_a_phone() -> None:
    assert len(json.dumps(SPEC)) < 200_000


def test_a_path_parameter_is_described_with_its_route() -> None:
    route = Route("/things/{thing_id}", ROUTES[0].handler)
    described = describe([route], VERSION)["paths"]["/things/{thing_id}"]
    assert [each["name"] for each in described["parameters"]] == ["thing_id"]


def test_schemathesis_finds_nothing(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION, encoding="utf-8")
    person = register(server)
    found = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{server.url}/api/v1/openapi.json",
            "--header",
            f"Authorization: Bearer {person.access_token}",
            "--exclude-path-regex",
            ENDS_THE_SESSION,
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            "2",
            "--workers",
            "1",
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
            "--generation-deterministic",
        ],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if "PROXY" not in name.upper()},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
