"""A request laid over a template, and the form in which a template is stored."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devpocket.domain.environments import EnvironmentPhase, ResourceLimits
from devpocket.domain.templates import (
    Template,
    TemplateCategory,
    TemplateDefinition,
    TemplateStatus,
    Wish,
    make_template,
    merge,
    template_from_document,
    template_to_document,
)
from devpocket.ids import EnvironmentId, TemplateId, UserId

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_definition(**changes: Any) -> TemplateDefinition:
    values: dict[str, Any] = {
        "name": "python",
        "display_name": "Python",
        "description": "Python with a virtual environment",
        "category": TemplateCategory.PROGRAMMING_LANGUAGE,
        "docker_image": "python:3.11-slim",
        "default_resources": ResourceLimits(cpu="500m", memory="1Gi", storage="10Gi"),
        "tags": ("python", "pip"),
        "default_port": 8000,
        "environment_variables": {"PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"},
        "startup_commands": ("echo one", "echo two"),
    }
    return TemplateDefinition(**{**values, **changes})


def a_template(**changes: Any) -> Template:
    return make_template(a_definition(**changes), template_id=TemplateId("a" * 24), created_at=NOW, updated_at=NOW)


def merged(wish: Wish, **changes: Any):
    return merge(a_template(**changes), wish, environment_id=EnvironmentId("e" * 24), user_id=UserId("u"), now=NOW)


def test_nothing_said_takes_everything_from_the_template():
    environment = merged(Wish(name="My Awesome Project"))
    assert environment.name == "My Awesome Project"
    assert environment.description == ""
    assert environment.limits == ResourceLimits(cpu="500m", memory="1Gi", storage="10Gi")
    assert environment.variables == {"PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
    assert environment.own_variables == {}
    assert environment.startup_commands == ("echo one", "echo two")
    assert (environment.template_id, environment.template_name) == ("a" * 24, "python")
    assert (environment.image, environment.port) == ("python:3.11-slim", 8000)
    assert environment.phase is EnvironmentPhase.REQUESTED


def test_what_was_said_goes_over_the_template_name_by_name():
    environment = merged(Wish(name="n", cpu="2", storage="5Gi", variables={"LANG": "vi_VN.UTF-8", "MINE": "ä"}))
    assert environment.limits == ResourceLimits(cpu="2", memory="1Gi", storage="5Gi")
    assert environment.variables == {"PYTHONUNBUFFERED": "1", "LANG": "vi_VN.UTF-8", "MINE": "ä"}
    assert environment.own_variables == {"LANG": "vi_VN.UTF-8", "MINE": "ä"}


def test_a_variable_that_its_user_takes_back_is_the_templates_again():
    template = {"PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
    made = merged(Wish(name="n", variables={"LANG": "vi_VN.UTF-8", "MINE": "ä"}))
    assert made.with_own_variables({}).variables == template
    once_more = made.with_own_variables({"LANG": "de_DE.UTF-8"}).with_own_variables({"PYTHONUNBUFFERED": ""})
    assert once_more.variables == template | {"PYTHONUNBUFFERED": ""}
    assert once_more.with_own_variables({}) == merged(Wish(name="n"))


def test_a_document_from_before_hidden_variables_were_kept_can_be_changed():
    old = replace(merged(Wish(name="n", variables={"LANG": "x", "MINE": "1"})), covered_variables={})
    assert old.with_own_variables({"MINE": "2"}).variables == {"PYTHONUNBUFFERED": "1", "MINE": "2"}


def test_a_merge_leaves_the_template_as_it_is():
    template = a_template()
    environment = merge(
        template,
        Wish(name="n", variables={"LANG": "x"}),
        environment_id=EnvironmentId("e"),
        user_id=UserId("u"),
        now=NOW,
    )
    assert environment.variables["LANG"] == "x"
    assert template.environment_variables == {"PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}


def test_amounts_in_another_notation_are_refused():
    with pytest.raises(ValueError, match="not an amount of bytes"):
        merged(Wish(name="n", memory="a lot"))


def test_the_stored_form_gives_the_same_template_back():
    template = a_template(status=TemplateStatus.BETA, documentation_url="https://docs.python.org", default_port=None)
    document = template_to_document(template)
    assert document["_id"] == template.id
    assert document["status"] == "beta"
    assert template_from_document(document) == template


def test_another_definition_keeps_id_age_and_usage():
    template = make_template(
        a_definition(), template_id=TemplateId("a" * 24), created_at=NOW, updated_at=NOW, usage_count=7, store_version=3
    )
    later = NOW + timedelta(days=1)
    changed = template.redefined(a_definition(description="new"), later)
    assert (changed.id, changed.created_at, changed.usage_count, changed.store_version) == ("a" * 24, NOW, 7, 3)
    assert (changed.description, changed.updated_at) == ("new", later)
    assert changed.definition == a_definition(description="new")


def test_a_template_is_never_renamed():
    with pytest.raises(ValueError, match="cannot be renamed"):
        a_template().redefined(a_definition(name="other"), NOW)


def test_only_a_deprecated_template_is_unusable():
    usable = {status: a_template(status=status).is_usable for status in TemplateStatus}
    assert usable == {TemplateStatus.ACTIVE: True, TemplateStatus.BETA: True, TemplateStatus.DEPRECATED: False}
