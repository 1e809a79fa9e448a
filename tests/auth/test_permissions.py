"""Rights come from roles, and a wrong name shows at import."""

import pytest

from devpocket.auth.permissions import PERMISSIONS, Permission, check_allowed, is_allowed, permission
from devpocket.domain.users import Role
from devpocket.errors import PermissionDeniedError


def test_every_role_has_its_row_and_only_administrators_have_admin_rights():
    assert set(PERMISSIONS) == set(Role)
    assert PERMISSIONS[Role.ADMIN] == set(Permission)
    assert {right for right in Permission if right.startswith("admin:")} == set(Permission) - PERMISSIONS[Role.USER]


@pytest.mark.parametrize("right", list(Permission))
def test_every_permission_is_found_by_its_name(right):
    assert permission(right.value) is right


def test_a_slip_of_the_pen_stops_the_start_and_names_what_was_meant():
    with pytest.raises(ValueError, match="environments:read"):
        permission("enviroments:read")
    with pytest.raises(ValueError, match="no permission"):
        permission("")


def test_who_lacks_a_right_is_refused():
    check_allowed(Role.ADMIN, Permission.ADMIN_TEMPLATES)
    check_allowed(Role.USER, Permission.ENVIRONMENTS_CREATE)
    assert not is_allowed(Role.USER, Permission.ADMIN_TEMPLATES)
    with pytest.raises(PermissionDeniedError) as caught:
        check_allowed(Role.USER, Permission.ADMIN_TEMPLATES)
    assert caught.value.detail == "admin:templates"
