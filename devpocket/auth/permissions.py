"""What a role may do. A plan gives no rights: it says how much, never what.

Names are looked up when a handler is imported, so that a slip of the pen stops the start and not a request.
"""

import difflib
from collections.abc import Mapping
from enum import StrEnum

from devpocket.domain.users import Role
from devpocket.errors import PermissionDeniedError


class Permission(StrEnum):
    """One right; ``admin:`` ones are an administrator's alone."""

    ACCOUNT_READ = "account:read"
    ACCOUNT_WRITE = "account:write"
    ENVIRONMENTS_READ = "environments:read"
    ENVIRONMENTS_CREATE = "environments:create"
    ENVIRONMENTS_WRITE = "environments:write"
    TERMINALS_ATTACH = "terminals:attach"
    TEMPLATES_READ = "templates:read"
    CLUSTERS_READ = "clusters:read"
    ADMIN_TEMPLATES = "admin:templates"


PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.USER: frozenset(right for right in Permission if not right.startswith("admin:")),
    Role.ADMIN: frozenset(Permission),
}


def permission(name: str) -> Permission:
    """Return the permission of that name; :class:`ValueError`, with the nearest names, if there is none."""
    try:
        return Permission(name)
    except ValueError:
        near = difflib.get_close_matches(name, [right.value for right in Permission])
        raise ValueError(f"no permission {name!r}; did you mean {' or '.join(near) or 'one of Permission'}?") from None


def is_allowed(role: Role, right: Permission) -> bool:
    """Tell whether the role has the permission."""
    return right in PERMISSIONS[role]


def check_allowed(role: Role, right: Permission) -> None:
    """Raise :class:`~devpocket.errors.PermissionDeniedError` unless the role has the permission."""
    if not is_allowed(role, right):
        raise PermissionDeniedError("Your account may not do this.", code="missing_permission", detail=right.value)
