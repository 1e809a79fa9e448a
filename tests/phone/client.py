"""The app's REST client: Dio with a 30 s limit, one bearer token, and no help when it is refused."""

import asyncio
from types import TracebackType
from typing import Any, Self

import httpx

from tests.phone import parsers
from tests.phone.parsers import Check, parse
from tests.phone.sockets import PhoneLogs, PhoneTerminal

USER_AGENT = "Dart/3.5 (dart:io)"
PASSWORD = "Turtle55"
"""The weakest that the app takes: 8 characters, upper, lower, digit, and no special one."""
Json = dict[str, Any]


class Refused(Exception):  # noqa: N818 - it is an answer, not an accident
    """The server said no, in a body that the app can read."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.body: Json = parse(parsers.ERROR, response.json(), f"error {self.status}")
        self.detail: str = self.body["detail"]
        self.headers = response.headers
        super().__init__(f"{self.status}: {self.detail}")


class Phone:
    """One phone with one person. After any 401 it has forgotten its tokens, as the app has."""

    def __init__(self, url: str, *, username: str = "ann", password: str = PASSWORD) -> None:
        self.url = url
        self.username = username
        self.email = f"{username.capitalize()}@Example.org"
        self.password = password
        self.tokens: Json | None = None
        self.http = httpx.AsyncClient(
            base_url=url, timeout=30, headers={"user-agent": USER_AGENT, "accept-encoding": "gzip"}
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send one request; a body goes out as JSON, a POST without one has none and no content type."""
        headers = {"authorization": f"Bearer {self.tokens['access_token']}"} if self.tokens else {}
        if body is None:
            response = await self.http.request(method, f"/api/v1{path}", headers=headers)
        else:
            response = await self.http.request(method, f"/api/v1{path}", headers=headers, json=body)
        if response.status_code == 401:
            self.tokens = None
        if response.status_code >= 400:
            raise Refused(response)
        assert 200 <= response.status_code < 300, f"{method} {path}: {response.status_code}; Dio repeats no redirect"
        return response

    async def fetch(self, method: str, path: str, check: Check, body: Any = None) -> Any:
        """Send one request and return what its answer was parsed as."""
        response = await self.call(method, path, body)
        assert response.headers["content-type"].startswith("application/json"), "Dio decodes nothing else"
        return parse(check, response.json(), f"{method} {path}")

    # --- the person ------------------------------------------------------------------------------------------------

    async def sign_up(self) -> Json:
        """Register, keep the tokens, fetch the profile: what the registration screen does."""
        body = {"username": self.username, "email": self.email, "password": self.password}
        self.tokens = await self.fetch("POST", "/auth/register", parsers.TOKEN, body)
        return await self.me()

    async def sign_in(self, password: str | None = None) -> Json:
        """Sign in by name, keep the tokens, fetch the profile."""
        body = {"username_or_email": self.username, "password": password or self.password}
        self.tokens = await self.fetch("POST", "/auth/login", parsers.TOKEN, body)
        return await self.me()

    async def refresh(self) -> None:
        """What the app does at its start: another pair for the refresh token, without an authorization header."""
        assert self.tokens
        refresh_token, self.tokens = self.tokens["refresh_token"], None
        self.tokens = await self.fetch("POST", "/auth/refresh", parsers.TOKEN, {"refresh_token": refresh_token})

    async def sign_out(self) -> None:
        await self.fetch("POST", "/auth/logout", parsers.MESSAGE)
        self.tokens = None

    async def me(self) -> Json:
        me: Json = await self.fetch("GET", "/auth/me", parsers.USER)
        return me

    # --- templates and environments ----------------------------------------------------------------------------------

    async def templates(self) -> list[Json]:
        templates: list[Json] = await self.fetch("GET", "/templates/", parsers.list_of(parsers.TEMPLATE))
        return templates

    async def template_id(self, name: str) -> str:
        """Pick a template from the list by its name, as a person does."""
        return next(str(template["id"]) for template in await self.templates() if template["name"] == name)

    async def environments(self) -> list[Json]:
        environments: list[Json] = await self.fetch("GET", "/environments/", parsers.list_of(parsers.ENVIRONMENT))
        return environments

    async def environment(self, environment_id: str) -> Json:
        environment: Json = await self.fetch("GET", f"/environments/{environment_id}", parsers.ENVIRONMENT)
        return environment

    async def create(self, name: str = "My Awesome Project", template: str = "ubuntu", **fields: Any) -> Json:
        """Create an environment; the optional fields go out as explicit nulls."""
        body = {
            "name": name,
            "template_id": await self.template_id(template),
            "resource_limits": None,
            "environment_variables": None,
            **fields,
        }
        environment: Json = await self.fetch("POST", "/environments/", parsers.ENVIRONMENT, body)
        return environment

    async def until(self, environment_id: str, status: str, patience_s: float = 30.0, every_s: float = 0.1) -> Json:
        """Refresh the list, as an impatient person does, until the environment has that status."""
        async with asyncio.timeout(patience_s):
            while True:
                environment = await self.environment(environment_id)
                if environment["status"] == status:
                    return environment
                await asyncio.sleep(every_s)

    async def command(self, environment_id: str, verb: str) -> None:
        """Start, stop or restart; the app reads nothing but the status code."""
        await self.call("POST", f"/environments/{environment_id}/{verb}")

    async def delete(self, environment_id: str) -> None:
        """Delete it in whatever state it is, without stopping it first."""
        await self.call("DELETE", f"/environments/{environment_id}")

    # --- sockets -----------------------------------------------------------------------------------------------------

    def terminal(self, environment_id: str, token: str | None = None) -> PhoneTerminal:
        """Return the terminal screen of an environment; enter it to connect."""
        return PhoneTerminal(self._socket_url("terminal", environment_id, token))

    def logs(self, environment_id: str, *, follow: bool = True) -> PhoneLogs:
        """Return the log socket of an environment; enter it to connect."""
        url = self._socket_url("logs", environment_id, None)
        return PhoneLogs(url if follow else f"{url}&follow=false")

    def _socket_url(self, kind: str, environment_id: str, token: str | None) -> str:
        if token is None:
            token = str(self.tokens["access_token"]) if self.tokens else ""
        return f"{self.url.replace('http', 'ws', 1)}/api/v1/ws/{kind}/{environment_id}?token={token}"
