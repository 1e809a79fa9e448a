"""Every route, and who may use it: a new one has to be written down here, too."""

from pathlib import Path

import pytest

from devpocket.auth.permissions import Permission
from handlers.openapi import operations_of
from handlers.operations import PUBLIC, operation
from handlers.paths import Route
from handlers.routes import ROUTES, SOCKET_ROUTES
from handlers.sockets import SocketHandler

EXPECTED = """
get    /                                              public
get    /health                                        public
get    /health/ready                                  public
get    /health/live                                   public
get    /health/startup                                public
get    /api/v1/health                                 public
get    /api/v1/info                                   public
post   /api/v1/auth/register                          public
post   /api/v1/auth/login                             public
post   /api/v1/auth/refresh                           public
post   /api/v1/auth/google                            public
get    /api/v1/auth/me                                account:read
get    /api/v1/auth/profile                           account:read
post   /api/v1/auth/logout                            account:read
post   /api/v1/auth/verify-email                      account:write
post   /api/v1/auth/verify-email/link                 public
post   /api/v1/auth/resend-verification               account:write
post   /api/v1/auth/change-password                   account:write
post   /api/v1/users/change-password                  account:write
post   /api/v1/auth/forgot-password                   public
post   /api/v1/auth/reset-password                    public
get    /api/v1/users/me                               account:read
put    /api/v1/users/me                               account:write
delete /api/v1/users/me                               account:write
get    /api/v1/users/me/stats                         account:read
get    /api/v1/users/me/activity                      account:read
get    /api/v1/users/me/sessions                      account:read
delete /api/v1/users/me/sessions                      account:write
delete /api/v1/users/me/sessions/{session_id}         account:write
get    /api/v1/environments                           environments:read
post   /api/v1/environments                           environments:create
get    /api/v1/environments/{environment_id}          environments:read
put    /api/v1/environments/{environment_id}          environments:write
delete /api/v1/environments/{environment_id}          environments:write
post   /api/v1/environments/{environment_id}/start    environments:write
post   /api/v1/environments/{environment_id}/stop     environments:write
post   /api/v1/environments/{environment_id}/restart  environments:write
post   /api/v1/environments/{environment_id}/recover  environments:write
get    /api/v1/environments/{environment_id}/metrics  environments:read
get    /api/v1/environments/{environment_id}/logs     environments:read
get    /api/v1/templates                              templates:read
post   /api/v1/templates                              admin:templates
post   /api/v1/templates/initialize                   admin:templates
get    /api/v1/templates/{template_id}                templates:read
put    /api/v1/templates/{template_id}                admin:templates
delete /api/v1/templates/{template_id}                admin:templates
get    /api/v1/clusters                               clusters:read
get    /api/v1/clusters/{cluster_id}                  clusters:read
get    /api/v1/clusters/{cluster_id}/health           clusters:read
get    /api/v1/openapi.json                           public
get    /docs                                          public
get    /redoc                                         public
get    /api-docs                                      public
get    /api/v1/docs                                   public
get    /metrics                                       public
"""


def test_every_route_and_its_permission() -> None:
    found = {
        (verb, route.path, described.permission.value if described.permission else PUBLIC)
        for route in ROUTES
        for verb, described in operations_of(route)
    }
    assert found == {tuple(line.split()) for line in EXPECTED.strip().splitlines()}


def test_no_verb_is_without_an_operation() -> None:
    for route in ROUTES:
        defined = {verb for verb in ("get", "post", "put", "patch", "delete") if verb in _own_methods(route)}
        assert defined == {verb for verb, _ in operations_of(route)}, route.path


def test_sockets_need_a_permission() -> None:
    handlers = [route.handler for route in SOCKET_ROUTES]
    assert len(handlers) == 2
    assert all(issubclass(each, SocketHandler) and each.allow is Permission.TERMINALS_ATTACH for each in handlers)


def test_every_route_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    missing = [
        route.path for route in ROUTES if f"`{route.path.removeprefix('/api/v1')}`" not in page.replace("/api/v1", "")
    ]
    assert not missing


def test_an_unknown_permission_stops_the_import() -> None:
    with pytest.raises(ValueError, match="environments:read"):
        operation("Read", allow="environment:read")


@pytest.mark.parametrize("path", ["/api/v1/environments", "/api/v1/environments/"])
def test_a_slash_at_the_end_changes_nothing(path: str) -> None:
    route = next(route for route in ROUTES if route.path == "/api/v1/environments")
    assert route.url_spec().regex.fullmatch(path)


def test_a_parameter_ends_at_the_next_slash() -> None:
    pattern = Route("/things/{thing_id}", ROUTES[0].handler).url_spec().regex
    found = pattern.fullmatch("/things/a-b")
    assert found is not None
    assert found.groups() == ("a-b",)
    assert not pattern.fullmatch("/things/a/b")


def _own_methods(route: Route) -> set[str]:
    return {
        name
        for kind in route.handler.__mro__
        if kind.__module__.startswith("handlers.") and kind.__module__ != "handlers.base"
        for name in vars(kind)
    }
