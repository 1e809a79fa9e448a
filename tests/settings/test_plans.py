from collections.abc import Callable
from pathlib import Path

import pytest

from devpocket.errors import ConfigurationError
from devpocket.settings import load_plans
from devpocket.settings.load import PROJECT_DIR

GOOD = """\
default: free
plans:
  free:
    environments: 1
    sockets: 10
    idle_timeout: 30m
    wake_on_connect: true
    default_resources: {cpu: 500m, memory: 1Gi, storage: 5Gi}
    max_resources: {cpu: 1, memory: 2Gi, storage: 20Gi}
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "plans.yaml"
        path.write_text(text)
        return path

    return write


def test_the_plans_that_come_along():
    plans = load_plans(PROJECT_DIR / "config" / "plans.yaml")
    assert {name: plan.environments for name, plan in plans.by_name.items()} == {
        "free": 1,
        "starter": 3,
        "pro": 10,
        "enterprise": 100,
    }
    assert plans.default.name == "free"
    assert plans.of("free").idle_timeout_s == 1800
    assert plans.of("enterprise").idle_timeout_s is None


def test_numbers_of_yaml_are_amounts_too(written):
    assert load_plans(written(GOOD)).of("free").max_resources.cpu_millis == 1000


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("environments: 1", "environments: many", "plans.free.environments: got 'many'; allowed is a whole number"),
        ("environments: 1", "enviroments: 1", "unknown field 'enviroments'; did you mean environments?"),
        ("environments: 1", "", "plans.free.environments: got nothing"),
        ("sockets: 10", "sockets: 0", "plans.free.sockets: got 0"),
        ("30m", "soon", "plans.free.idle_timeout: got 'soon'; allowed is never, or a time"),
        ("true", "perhaps", "plans.free.wake_on_connect: got 'perhaps'"),
        ("memory: 1Gi", "memory: 1 Gi", "plans.free.default_resources: not an amount of bytes"),
        ("memory: 1Gi", "memory: 3Gi", "plans.free.default_resources.memory: is more than max_resources"),
        (", storage: 20Gi", "", "plans.free.max_resources.storage: is missing"),
        ("default: free", "default: gold", "default: got 'gold'; allowed is a plan of this file: free"),
        ("plans:\n", "plans: 3\nothers:\n", "plans: got 3; allowed is a table"),
        ("default: free", "- a\n", "is not YAML"),
    ],
)
def test_problems_name_the_file_and_the_field(written, old, new, words):
    path = written(GOOD.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load_plans(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "plans: {}", "default: free\nplans: {free: }"])
def test_a_file_without_plans_is_refused(written, text):
    with pytest.raises(ConfigurationError, match=r"plans\.yaml"):
        load_plans(written(text))


def test_a_missing_file_names_the_setting(tmp_path):
    with pytest.raises(ConfigurationError, match=r"PLANS_FILE: .* cannot be read"):
        load_plans(tmp_path / "none.yaml")
