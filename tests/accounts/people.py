"""People who use the API over HTTP, and whatever they like to send."""

import itertools
from typing import Any, Self

import httpx

from tests.phone import parsers
from tests.phone.parsers import parse

PASSWORD = "Turtle55"
ANOTHER = "Tortoise77"
METRICS_TOKEN = "metrics-token-of-tests"
Json = dict[str, Any]
_numbers = itertools.count(1)


class Web:
    """Sends requests to one server process. Every refusal is read as the contract has it, and none is a 500."""

    def __init__(self, url: str, *, address: str = "", device: str = "") -> None:
        """``address`` is where the requests pretend to come from, for a server that trusts this machine as a proxy."""
        headers = {"x-forwarded-for": address} if address else {}
        self.url = url
        self.http = httpx.AsyncClient(
            base_url=url, timeout=30, headers={"user-agent": device or "tests", **headers}, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str = "", headers: Json | None = None, **options: Any
    ) -> httpx.Response:
        """Send one request below ``/api/v1``; ``body`` goes out as JSON."""
        given = {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        if body is not None:
            options["json"] = body
        response = await self.http.request(method, f"/api/v1{path}", headers=given, **options)
        check_refusal(response)
        return response

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.call("POST", path, body, **options)

    async def metric(self, series: str) -> float:
        """Return what the process shows to Prometheus under ``series``, its labels included."""
        shown = await self.http.get("/metrics", headers={"authorization": f"Bearer {METRICS_TOKEN}"})
        assert shown.status_code == 200
        (value,) = (line.rpartition(" ")[2] for line in shown.text.splitlines() if line.startswith(f"{series} "))
        return float(value)


def check_refusal(response: httpx.Response) -> None:
    """Fail for a defect of the server, and for a refusal that the app could not read."""
    asked = f"{response.request.method} {response.request.url.path}"
    assert response.status_code != 500, f"{asked}: {response.text}"
    if response.status_code >= 400 and response.request.method != "HEAD":
        assert response.headers["content-type"] == "application/json", asked
        parse(parsers.ERROR, response.json(), f"{asked}: {response.status_code}")


class Person:
    """Somebody with an account, at one device."""

    def __init__(self, web: Web, name: str = "", *, password: str = PASSWORD) -> None:
        self.web = web
        self.username = name or f"person_{next(_numbers)}"
        self.email = f"{self.username}@example.org"
        self.password = password
        self.tokens: Json = {}

    @property
    def access_token(self) -> str:
        return str(self.tokens["access_token"])

    @property
    def refresh_token(self) -> str:
        return str(self.tokens["refresh_token"])

    @property
    def id(self) -> str:
        return str(self.tokens["user"]["id"])

    def at(self, web: Web) -> "Person":
        """Return the same person at another device, or at another process."""
        other = Person(web, self.username, password=self.password)
        other.email, other.tokens = self.email, dict(self.tokens)
        return other

    async def sign_up(self) -> "Person":
        body = {"username": self.username, "email": self.email, "password": self.password}
        response = await self.web.post("/auth/register", body)
        assert response.status_code == 201, response.text
        self.tokens = parse(parsers.TOKEN, response.json())
        return self

    async def try_sign_in(self, password: str = "", name: str = "") -> httpx.Response:
        body = {"username_or_email": name or self.username, "password": password or self.password}
        response = await self.web.post("/auth/login", body)
        if response.status_code == 200:
            self.tokens = parse(parsers.TOKEN, response.json())
        return response

    async def sign_in(self) -> "Person":
        response = await self.try_sign_in()
        assert response.status_code == 200, response.text
        return self

    async def try_refresh(self, token: str = "") -> httpx.Response:
        response = await self.web.post("/auth/refresh", {"refresh_token": token or self.refresh_token})
        if response.status_code == 200:
            self.tokens = parse(parsers.TOKEN, response.json())
        return response

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.web.call(method, path, body, token=self.access_token, **options)

    async def get(self, path: str) -> httpx.Response:
        return await self.call("GET", path)

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self.call("POST", path, body)

    async def put(self, path: str, body: Any = None) -> httpx.Response:
        return await self.call("PUT", path, body)

    async def delete(self, path: str) -> httpx.Response:
        return await self.call("DELETE", path)

    async def is_signed_in(self) -> bool:
        response = await self.get("/auth/me")
        assert response.status_code in (200, 401), response.text
        return response.status_code == 200

    async def activity(self) -> list[Json]:
        response = await self.get("/users/me/activity?limit=200")
        assert response.status_code == 200, response.text
        lines: list[Json] = response.json()
        return lines

    async def actions(self) -> list[str]:
        """Return what happened to the account, newest first."""
        return [str(line["action"]) for line in await self.activity()]
