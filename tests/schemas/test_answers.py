"""What the app reads: every field that its parsers insist on, with the type that they insist on."""

from dataclasses import replace
from datetime import UTC, datetime

import orjson

from actors.messages import EnvironmentView, SignIn
from devpocket.domain.environments import EnvironmentPhase, ResourceLimits
from devpocket.domain.templates import Template, TemplateCategory
from devpocket.domain.users import User
from devpocket.ids import TemplateId, UserId
from devpocket.runtime.port import Usage
from devpocket.schemas.accounts import TokenAnswer, UserAnswer
from devpocket.schemas.environments import EnvironmentAnswer, MetricsAnswer
from devpocket.schemas.templates import TemplateAnswer
from tests.handlers.fakes import environment

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
USER = User(
    id=UserId("u" * 24),
    username="ann",
    username_key="ann",
    email="Ann@Example.org",
    email_key="ann@example.org",
    created_at=NOW,
    updated_at=NOW,
    password_hash="$argon2id$secret",
)
USAGE = Usage(
    measured_at=NOW,
    cpu_percent=12.5,
    memory_percent=30.0,
    storage_percent=None,
    memory_bytes=1,
    storage_bytes=2,
    processes=3,
    network_received_bytes=4,
    network_sent_bytes=None,
    uptime_s=5.5,
)


def test_a_user_is_complete_and_has_no_secrets() -> None:
    said = UserAnswer().dump(USER)
    assert said["created_at"] == "2026-01-31T12:00:00.000Z"
    assert said["last_login"] is None
    assert {"id", "username", "email", "is_active", "is_verified", "subscription_plan"} <= set(said)
    assert b"argon2" not in orjson.dumps(said)
    assert "email_key" not in said


def test_a_token_answer_has_four_fields_and_the_user() -> None:
    said = TokenAnswer().dump(SignIn(USER, "a", "r", 3600))
    assert said["token_type"] == "bearer"
    assert (said["access_token"], said["refresh_token"], said["expires_in"]) == ("a", "r", 3600)
    assert said["user"]["username"] == "ann"


def test_an_environment_has_both_names_of_its_limits() -> None:
    said = EnvironmentAnswer().dump(EnvironmentView(replace(environment(), variables={"A": "b"})))
    assert (
        said["resource_limits"]
        == said["resources"]
        == {
            "cpu": "500m",
            "memory": "1Gi",
            "storage": "10Gi",
            "max_instances": 1,
        }
    )
    assert said["environment_variables"] == {"A": "b"}
    assert said["cpu_usage"] is None
    assert said["external_url"] is None


def test_an_environment_that_runs_has_figures() -> None:
    said = EnvironmentAnswer().dump(EnvironmentView(environment(), USAGE))
    assert (said["cpu_usage"], said["memory_usage"], said["storage_usage"]) == (12.5, 30.0, None)


def test_the_status_is_always_one_of_five_words() -> None:
    for phase in EnvironmentPhase:
        said = EnvironmentAnswer().dump(EnvironmentView(environment(phase)))
        assert said["status"] in ("creating", "running", "stopped", "terminated", "error")
        assert said["phase"] == phase.value


def test_metrics_have_both_sets_of_names() -> None:
    said = MetricsAnswer().dump({"environment_id": "e", "usage": USAGE, "history": [], "bucket_seconds": 30})
    assert said["network_in"] == said["network_rx"] == 4
    assert said["disk_usage"] is said["storage_usage"] is None
    assert said["timestamp"] == said["last_updated"] == "2026-01-31T12:00:00.000Z"
    silent = MetricsAnswer().dump({"environment_id": "e", "usage": None, "history": [], "bucket_seconds": 30})
    assert silent["cpu_usage"] is None
    assert silent["timestamp"] is None


def test_a_template_answers_both_of_the_apps_parsers() -> None:
    template = Template(
        id=TemplateId("t" * 24),
        name="ubuntu",
        display_name="Ubuntu",
        description="A shell",
        category=TemplateCategory.OPERATING_SYSTEM,
        docker_image="ubuntu:22.04",
        default_resources=ResourceLimits("500m", "1Gi", "10Gi"),
        environment_variables={"LANG": "C.UTF-8"},
        created_at=NOW,
        updated_at=NOW,
    )
    said = TemplateAnswer().dump(template)
    assert said["image"] == said["docker_image"] == "ubuntu:22.04"
    assert said["category"] == "operating_system"
    assert all(isinstance(value, str) for value in said["default_resources"].values())
    assert said["usage_count"] == 0
