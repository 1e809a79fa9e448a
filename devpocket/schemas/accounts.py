"""Accounts and sign-in on the wire."""

from collections.abc import Callable
from itertools import permutations
from typing import Any, ClassVar

from marshmallow import fields, post_load

from devpocket.domain.users import (
    MAX_EMAIL,
    MAX_FULL_NAME,
    MAX_PASSWORD,
    MAX_USERNAME,
    MIN_PASSWORD,
    MIN_USERNAME,
    clean_email,
    clean_username,
    email_problems,
    full_name_problems,
    password_problems,
    username_problems,
)
from devpocket.errors import FieldProblem
from devpocket.schemas.wire import (
    ONE_LINE,
    WEB_ADDRESS,
    Instant,
    Loaded,
    QueryBoolean,
    StrictBoolean,
    StrictInteger,
    WireSchema,
    by,
    given,
    length,
    maybe,
    optional,
    query_number,
    text,
)

_MAX_TOKEN = 8192
_ADDRESS = (
    r"^ *[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}){0,2}"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?){1,4} *$"
)
_USERNAME = rf"^ *[A-Za-z0-9_-]{{{MIN_USERNAME},{MAX_USERNAME}}} *$"
_ANY = r"[^\u0000]*"
_IN_ANY_ORDER = "|".join(_ANY.join(order) for order in permutations(("[A-Z]", "[a-z]", "[0-9]")))
_PASSWORD = f"^{_ANY}(?:{_IN_ANY_ORDER}){_ANY}$"
"""Upper, lower and digit. Written without lookaheads, which programs that make up passwords are slow with."""
_NAME = r"^ *[^\u0000-\u0020\u007f-\u00a0]"
_AT_THE_ENDS = 16
"""Spaces that a keyboard may have added."""


def _checked(rule: Callable[[str], list[FieldProblem]], shown: str, high: int, **options: Any) -> fields.String:
    """Return a field that the domain's ``rule`` checks, which ``shown`` describes to programs as well as it can."""
    return fields.String(validate=[length(0, high), by(rule)], metadata={"pattern": shown}, **options)


def _username(**options: Any) -> fields.String:
    most = MAX_USERNAME + _AT_THE_ENDS
    return _checked(lambda value: username_problems(clean_username(value)), _USERNAME, most, **options)


def _email(**options: Any) -> fields.String:
    return _checked(lambda value: email_problems(clean_email(value)), _ADDRESS, MAX_EMAIL, **options)


def _new_password(field: str) -> fields.String:
    # Which passwords are too common is asked by the service that knows the list.
    rule = by(lambda value: password_problems(value, is_common=lambda _: False, field=field))
    shown = {"pattern": _PASSWORD, "minLength": MIN_PASSWORD, "maxLength": MAX_PASSWORD}
    return fields.String(required=True, validate=rule, metadata=shown)


def _full_name(**options: Any) -> fields.String:
    return _checked(lambda value: full_name_problems(value.strip()), _NAME, MAX_FULL_NAME, **options)


def _token(**options: Any) -> fields.String:
    return text(low=1, high=_MAX_TOKEN, required=True, **options)


class RegisterRequest(WireSchema):
    """A new account; an empty ``full_name`` counts as none."""

    ALIASES: ClassVar = {"full_name": ("fullName",)}

    username = _username(required=True)
    email = _email(required=True)
    password = _new_password("password")
    full_name = _checked(
        lambda value: full_name_problems(value.strip()) if value.strip() else [],
        ONE_LINE,
        MAX_FULL_NAME,
        **optional(),
    )

    @post_load
    def _clean(self, data: Loaded, **_: Any) -> Loaded:
        cleaned = {"username": clean_username(data["username"]), "email": clean_email(data["email"])}
        return data | cleaned | {"full_name": (data["full_name"] or "").strip() or None}


class LoginRequest(WireSchema):
    """A sign-in; ``email``, ``username`` and ``usernameOrEmail`` are taken for ``username_or_email``, too."""

    ALIASES: ClassVar = {"username_or_email": ("usernameOrEmail", "email", "username")}

    username_or_email = text(low=1, high=MAX_EMAIL + _AT_THE_ENDS, required=True)
    password = text(low=1, high=1024, required=True)


class RefreshRequest(WireSchema):
    """Asks for the next pair of tokens."""

    ALIASES: ClassVar = {"refresh_token": ("refreshToken",)}

    refresh_token = _token()


class GoogleRequest(WireSchema):
    """A sign-in with Google's ID token; ``token`` is taken for ``id_token``, too. ``access_token`` is not looked at."""

    ALIASES: ClassVar = {"id_token": ("token", "idToken")}

    id_token = _token()


class EmailRequest(WireSchema):
    """Somebody who has forgotten a password."""

    email = _email(required=True)


class ResetPasswordRequest(WireSchema):
    """The token of the mail and what the password is to be."""

    ALIASES: ClassVar = {"new_password": ("newPassword", "password")}

    token = _token()
    new_password = _new_password("new_password")


class VerifyEmailRequest(WireSchema):
    """The six digits of the mail, typed by the signed-in user, or the token of its link."""

    ALIASES: ClassVar = {"token": ("code",)}

    token = _token()

    @post_load
    def _clean(self, data: Loaded, **_: Any) -> Loaded:
        return data | {"token": data["token"].strip()}


class ChangePasswordRequest(WireSchema):
    """The password that is, and the one that is to be."""

    ALIASES: ClassVar = {"current_password": ("currentPassword",), "new_password": ("newPassword",)}

    current_password = text(low=1, high=1024, required=True)
    new_password = _new_password("new_password")


class UpdateUserRequest(WireSchema):
    """What to change of the own account; what is absent stays, null takes away an avatar or a region."""

    ALIASES: ClassVar = {"full_name": ("fullName",), "avatar_url": ("avatarUrl",)}

    username = _username(allow_none=True)
    full_name = _full_name(allow_none=True)
    avatar_url = text(low=1, high=2048, pattern=WEB_ADDRESS, allow_none=True)
    preferred_region = text(high=64, pattern=ONE_LINE, allow_none=True)

    @post_load
    def _clean(self, data: Loaded, **_: Any) -> Loaded:
        for name in ("username", "full_name"):
            if name in data:
                data[name] = (data[name] or "").strip()
        return {name: value for name, value in data.items() if value or name in ("avatar_url", "preferred_region")}


class UserAnswer(WireSchema):
    """An account as its owner sees it."""

    id = fields.String(**given())
    username = fields.String(**given())
    email = fields.String(**given())
    full_name = fields.String(**maybe())
    is_active = fields.Boolean(**given())
    is_verified = fields.Boolean(**given())
    subscription_plan = fields.String(**given())
    role = fields.String(**given())
    avatar_url = fields.String(**maybe())
    preferred_region = fields.String(**maybe())
    created_at = Instant(**given())
    updated_at = Instant(**given())
    last_login = Instant(**maybe(attribute="last_login_at"))


class TokenAnswer(WireSchema):
    """A pair of tokens; ``expires_in`` is the access token's lifetime in seconds."""

    access_token = fields.String(**given())
    refresh_token = fields.String(**given())
    token_type = fields.Constant("bearer", **given(), metadata={"type": "string", "enum": ["bearer"]})
    expires_in = fields.Integer(**given(attribute="expires_in_s"))
    user = fields.Nested(UserAnswer, **given())


class SessionAnswer(WireSchema):
    """One signed-in device."""

    id = fields.String(**given())
    device = fields.String(**given())
    address = fields.String(**given())
    created_at = Instant(**given())
    last_used_at = Instant(**given())
    expires_at = Instant(**given())
    is_current = StrictBoolean(**given())


class EndSessionsQuery(WireSchema):
    """Which devices are signed out: all others, or with ``include_current=true`` this one, too."""

    include_current = QueryBoolean(load_default=False)


class EndedAnswer(WireSchema):
    """How many sessions were ended."""

    message = fields.String(**given())
    ended = StrictInteger(**given())


class ActivityQuery(WireSchema):
    """Which lines of the audit trail: the newest ``limit`` before ``before``."""

    limit = query_number(1, 200, 50)
    before = Instant(load_default=None)


class ActivityAnswer(WireSchema):
    """One line of the audit trail."""

    action = fields.String(**given())
    timestamp = Instant(**given(attribute="at"))
    address = fields.String(**given())
    device = fields.String(**given())
    detail = fields.Dict(**given(keys=fields.String()))


class StatsAnswer(WireSchema):
    """Counts over one's environments and sessions."""

    total_environments = StrictInteger(**given())
    environments_by_status = fields.Dict(**given(keys=fields.String(), values=fields.Integer()))
    environments_limit = StrictInteger(**given())
    active_sessions = StrictInteger(**given())
    environments_created_last_7_days = StrictInteger(**given(attribute="created_last_7_days"))
    environments_created_last_30_days = StrictInteger(**given(attribute="created_last_30_days"))
    environments_active_last_7_days = StrictInteger(**given(attribute="active_last_7_days"))
