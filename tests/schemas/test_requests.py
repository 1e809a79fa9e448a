"""What clients send: the app as it is, older ones, and those who mean harm."""

from typing import Any

import pytest
from marshmallow import ValidationError

from devpocket.domain.environments import ResourceLimits
from devpocket.domain.templates import TemplateCategory, TemplateDefinition
from devpocket.schemas.accounts import (
    ChangePasswordRequest,
    GoogleRequest,
    LoginRequest,
    RefreshRequest,
    RegisterRequest,
    UpdateUserRequest,
    VerifyEmailRequest,
)
from devpocket.schemas.environments import (
    MAX_VARIABLES,
    RESERVED,
    CreateEnvironmentRequest,
    UpdateEnvironmentRequest,
)
from devpocket.schemas.templates import CreateTemplateRequest, UpdateTemplateRequest
from devpocket.schemas.wire import WireSchema

NAMES = ["My Awesome Project", "Dự án", "проект", "私のプロジェクト", "😀", "a" * 100]


def wrong_fields(schema: WireSchema, body: dict[str, Any]) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        schema.load(body)
    return set(caught.value.messages_dict)


# --- accounts --------------------------------------------------------------------------------------------------------


def registration(**changes: Any) -> dict[str, Any]:
    return {"username": "ann_1", "email": "Ann@Example.org", "password": "Turtle55", **changes}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [({}, None), ({"full_name": None}, None), ({"full_name": " "}, None), ({"fullName": "Ann"}, "Ann")],
)
def test_a_full_name_is_optional(sent: dict[str, Any], kept: str | None) -> None:
    assert RegisterRequest().load(registration(**sent))["full_name"] == kept


def test_spaces_that_a_keyboard_adds_are_taken_off() -> None:
    loaded = RegisterRequest().load(registration(username=" ann ", email=" Ann@Example.org "))
    assert (loaded["username"], loaded["email"]) == ("ann", "Ann@Example.org")


def test_a_password_keeps_its_spaces() -> None:
    assert RegisterRequest().load(registration(password=" Turtle 55 "))["password"] == " Turtle 55 "


WRONG: dict[str, list[Any]] = {
    "username": ["ab", "a" * 31, "a b c", "ann@x", "\u0430nn", "", "a" * 1_000_000, "ann\x00", 5, []],
    "email": ["", "ann", "a@b", "@b.de", "a@b@c.de", "a b@c.de", "ann@ex\u00e4mple.org", "a" * 1_000_000],
    "password": ["Short1", "alllower1", "ALLUPPER1", "NoDigits", "N1" + "x" * 127, "Nul\x0055xx"],
    "full_name": ["x" * 101, "a\nb", "\u202eevil", 5, {"a": 1}],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in WRONG.items() for value in values],
    ids=lambda each: repr(each)[:20],
)
def test_each_rule_of_an_account_names_its_field(field: str, value: Any) -> None:
    assert wrong_fields(RegisterRequest(), registration(**{field: value})) == {field}


@pytest.mark.parametrize("field", ["username", "email", "password"])
@pytest.mark.parametrize("value", [None, "absent"])
def test_what_is_needed_is_asked_for(field: str, value: str | None) -> None:
    body = registration(**{field: None})
    if value == "absent":
        del body[field]
    assert wrong_fields(RegisterRequest(), body) == {field}


@pytest.mark.parametrize("key", ["username_or_email", "usernameOrEmail", "email", "username"])
def test_all_names_of_the_login_are_taken(key: str) -> None:
    loaded = LoginRequest().load({key: "ann", "password": "x"})
    assert loaded == {"username_or_email": "ann", "password": "x"}


def test_older_spellings_of_tokens_and_passwords_are_taken() -> None:
    assert RefreshRequest().load({"refreshToken": "r"}) == {"refresh_token": "r"}
    assert GoogleRequest().load({"token": "t", "access_token": None}) == {"id_token": "t"}
    assert GoogleRequest().load({"id_token": "t", "access_token": 5}) == {"id_token": "t"}
    loaded = ChangePasswordRequest().load({"currentPassword": "a", "newPassword": "Turtle55"})
    assert loaded == {"current_password": "a", "new_password": "Turtle55"}


def test_a_code_is_taken_as_it_is_typed() -> None:
    assert VerifyEmailRequest().load({"token": " 123456 "}) == {"token": "123456"}
    assert wrong_fields(VerifyEmailRequest(), {"token": 123456}) == {"token"}


def test_a_profile_changes_only_where_something_was_said() -> None:
    assert UpdateUserRequest().load({}) == {}
    assert UpdateUserRequest().load({"full_name": None, "username": None}) == {}
    assert UpdateUserRequest().load({"full_name": " Ann ", "role": "admin", "subscription_plan": "pro"}) == {
        "full_name": "Ann"
    }
    assert UpdateUserRequest().load({"avatar_url": None}) == {"avatar_url": None}


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:x", "ftp://x/y", "https://", "https://x/\n", "//x"])
def test_an_avatar_is_a_web_address(url: str) -> None:
    assert wrong_fields(UpdateUserRequest(), {"avatar_url": url}) == {"avatar_url"}


# --- environments ----------------------------------------------------------------------------------------------------


def creation(**changes: Any) -> dict[str, Any]:
    return {
        "name": "My Awesome Project",
        "template_id": "ubuntu",
        "resource_limits": None,
        "environment_variables": None,
        **changes,
    }


def test_what_the_app_sends_says_name_and_template_and_nothing_else() -> None:
    assert CreateEnvironmentRequest().load(creation()) == {"name": "My Awesome Project", "template_id": "ubuntu"}


@pytest.mark.parametrize("name", NAMES)
def test_any_letters_make_a_name(name: str) -> None:
    assert CreateEnvironmentRequest().load(creation(name=f" {name[:98]} "))["name"] == name[:98]


@pytest.mark.parametrize("name", ["", "   ", "a" * 101, "a\nb", "a\x00b", "\x1b[31m", None, 5, ["x"]])
def test_what_cannot_be_shown_is_no_name(name: Any) -> None:
    assert wrong_fields(CreateEnvironmentRequest(), creation(name=name)) == {"name"}


def test_older_clients_say_template_and_resources() -> None:
    body = {"name": "x", "template": "python", "resources": {"cpu": "500m", "memory": "1Gi", "max_instances": 2}}
    assert CreateEnvironmentRequest().load(body) == {
        "name": "x",
        "template_id": "python",
        "cpu": "500m",
        "memory": "1Gi",
        "max_instances": 2,
    }


@pytest.mark.parametrize(
    "limits",
    [
        {"cpu": "0"},
        {"cpu": "-1"},
        {"cpu": "1.5"},
        {"cpu": 1},
        {"memory": "1"},
        {"memory": "1Ti"},
        {"storage": "0Gi"},
        "x",
    ],
)
def test_amounts_are_in_kubernetes_notation(limits: Any) -> None:
    assert wrong_fields(CreateEnvironmentRequest(), creation(resource_limits=limits)) == {"resource_limits"}


def test_variables_are_a_map_of_text_to_text() -> None:
    variables = {"EDITOR": "vim", "_x1": "", "GREETING": "chào 😀\nline"}
    assert CreateEnvironmentRequest().load(creation(environment_variables=variables))["variables"] == variables


@pytest.mark.parametrize(
    "variables",
    [
        {"A": 1},
        {"A": None},
        {"A": "x" * 8193},
        {"A": "\x00"},
        {"": "x"},
        {"1A": "x"},
        {"A-B": "x"},
        {"Ä": "x"},
        {"A\n": "x"},
        {"A" * 129: "x"},
        {"DEVPOCKET_X": "x"},
        {f"A{number}": "" for number in range(MAX_VARIABLES + 1)},
        [["A", "x"]],
        "A=x",
    ],
    ids=lambda each: str(each)[:20],
)
def test_other_variables_are_refused(variables: Any) -> None:
    assert wrong_fields(CreateEnvironmentRequest(), creation(environment_variables=variables)) == {
        "environment_variables"
    }


@pytest.mark.parametrize("name", RESERVED)
def test_variables_of_the_login_cannot_be_set(name: str) -> None:
    assert wrong_fields(CreateEnvironmentRequest(), creation(environment_variables={name: "x"}))


def test_an_update_keeps_what_was_not_said_and_null_takes_a_variable_away() -> None:
    schema = UpdateEnvironmentRequest()
    assert schema.load({"name": None, "description": None, "resources": None, "environment_variables": None}) == {}
    assert schema.load({"description": ""}) == {"description": ""}
    assert schema.load({"environment_variables": {"A": None, "B": "x"}}) == {"variables": {"A": None, "B": "x"}}


# --- templates -------------------------------------------------------------------------------------------------------


def template(**changes: Any) -> dict[str, Any]:
    return {
        "name": "elixir-1.17",
        "display_name": "Elixir",
        "description": "Elixir and mix",
        "category": "programming_language",
        "docker_image": "elixir:1.17",
        "default_resources": {"cpu": "500m", "memory": "1Gi", "storage": "10Gi"},
        **changes,
    }


def test_a_template_becomes_a_definition() -> None:
    loaded = CreateTemplateRequest().load(
        template(tags=["beam"], startup_commands=["mix local.hex"], default_port=4000)
    )
    definition = TemplateDefinition(**loaded)
    assert definition.category is TemplateCategory.PROGRAMMING_LANGUAGE
    assert definition.default_resources == ResourceLimits("500m", "1Gi", "10Gi")
    assert definition.tags == ("beam",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Elixir 1.17"),
        ("name", "../x"),
        ("category", "game"),
        ("docker_image", "-v /:/host"),
        ("default_port", 0),
        ("default_port", 70_000),
        ("default_resources", {"cpu": "500m"}),
        ("tags", "beam"),
        ("tags", ["x"] * 21),
        ("startup_commands", [5]),
        ("documentation_url", "javascript:alert(1)"),
        ("environment_variables", {"HOME": "/root"}),
    ],
)
def test_each_rule_of_a_template_names_its_field(field: str, value: Any) -> None:
    assert wrong_fields(CreateTemplateRequest(), template(**{field: value})) == {field}


def test_a_template_is_never_renamed() -> None:
    assert UpdateTemplateRequest().load({"name": "other", "version": "2"}) == {"version": "2"}


def test_null_is_nothing_said_of_a_template_but_where_it_takes_something_away():
    removable = {"default_port": None, "documentation_url": None, "icon_url": None}
    assert UpdateTemplateRequest().load(dict.fromkeys(UpdateTemplateRequest().fields)) == removable
    required = {name for name, field in CreateTemplateRequest().fields.items() if field.required}
    nulls = dict.fromkeys(CreateTemplateRequest().fields.keys() - required)
    assert TemplateDefinition(**CreateTemplateRequest().load(template(**nulls))) == TemplateDefinition(
        **CreateTemplateRequest().load({name: value for name, value in template().items() if name in required})
    )
