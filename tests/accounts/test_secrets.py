"""Secrets stay where they belong: not in the log, whatever its level and form, in the database or in refusals.

Every flow runs with real secrets; then everything that the server has written is searched for them.
"""

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.accounts.conftest import running
from tests.accounts.mails import digits_of, mail_to, token_of
from tests.accounts.people import METRICS_TOKEN, Person, Web
from tests.auth.google_tokens import AUDIENCE, CertificateServer, signed
from tests.e2e.server import ServerProcess

FIRST, SECOND, THIRD, WRONG = "Zq7Hidden-first", "Zq7Hidden-second", "Zq7Hidden-third", "Zq7Hidden-wrong"
_MICROSECONDS = re.compile(rb"\.\d{3,6}(?=Z|\+)")


class Eavesdropper:
    """Collects every secret that passes, and every refusal."""

    def __init__(self, web: Web) -> None:
        self.secrets = {FIRST, SECOND, THIRD, WRONG, METRICS_TOKEN}
        self.digits: set[str] = set()
        self.refusals: list[str] = []
        web.http.event_hooks["response"].append(self.hear)

    async def hear(self, response: httpx.Response) -> None:
        await response.aread()
        if response.status_code >= 400:
            self.refusals.append(response.text)
        elif "access_token" in response.text:
            told = response.json()
            self.secrets |= {told["access_token"], told["refresh_token"]}

    def found_in(self, text: bytes) -> set[str]:
        found = {secret for secret in self.secrets if secret.encode() in text}
        signatures = {secret for secret in self.secrets if "." in secret and secret.rpartition(".")[2].encode() in text}
        digits = {each for each in self.digits if re.search(rb"(?<![0-9a-f])%s(?![0-9a-f])" % each.encode(), text)}
        return found | signatures | digits


async def everything_with_secrets(person: Person, ear: Eavesdropper, data_dir: Path) -> None:
    """Go through all that has to do with secrets, in the right and in the wrong way."""
    web = person.web
    await person.sign_up()
    mail = await mail_to(data_dir, person.email, "verification")
    ear.secrets.add(token_of(mail))
    ear.digits.add(digits_of(mail))
    await person.post("/auth/verify-email", {"token": digits_of(mail)})
    await web.post("/auth/verify-email/link", {"token": token_of(mail)})
    await person.try_sign_in(WRONG)
    await person.try_sign_in()
    await person.try_refresh()
    used = person.refresh_token
    await person.try_refresh()
    await web.call("POST", "/auth/refresh", {"refresh_token": used + "x"})
    await person.post("/auth/change-password", {"current_password": WRONG, "new_password": SECOND})
    await person.post("/users/change-password", {"current_password": FIRST, "new_password": SECOND})
    await web.post("/auth/forgot-password", {"email": person.email})
    reset = token_of(await mail_to(data_dir, person.email, "password_reset"))
    ear.secrets.add(reset)
    await web.post("/auth/reset-password", {"token": reset, "new_password": THIRD})
    await web.post("/auth/reset-password", {"token": reset, "new_password": FIRST})
    await person.try_sign_in(THIRD)
    google = signed(sub=person.username, email=f"{person.username}@gmail.com")
    ear.secrets |= {google, google + "x"}
    await web.post("/auth/google", {"id_token": google, "access_token": SECOND})
    await web.post("/auth/google", {"id_token": google + "x"})
    await person.put("/users/me", {"password": FIRST, "full_name": "x" * 300, "avatar_url": f"x:{SECOND}"})
    for query in (f"?token={person.access_token}", f"?access_token={person.access_token}", f"?code={THIRD}"):
        await web.call("GET", f"/auth/me{query}")
        await web.http.get(f"/verify-email{query}")
        await web.http.get(f"/nothing{query}")
    await web.call("POST", "/auth/login", content=f'{{"username_or_email": "x", "password": "{WRONG}"', headers={})
    await web.call("POST", "/auth/login", content=json.dumps({"password": [WRONG], "username_or_email": WRONG}))
    await web.call("GET", "/auth/me", headers={"authorization": f"Basic {WRONG}", "cookie": f"session={SECOND}"})
    await secrets_in_paths(web.url, [digits_of(mail), reset, WRONG, THIRD, person.access_token])
    await secrets_in_broken_headers(web.url, [person.access_token, WRONG, digits_of(mail)])
    await web.metric("devpocket_bus_degraded")
    base = web.url.replace("http", "ws", 1)
    for token in (person.access_token, person.access_token[:-1], WRONG, person.refresh_token):
        for kind in ("terminal", "logs", "dance"):
            async with connect(f"{base}/api/v1/ws/{kind}/{'0' * 24}?token={token}", proxy=None) as socket:
                await socket.wait_closed()
    await person.post("/auth/logout")
    await person.get("/auth/me")


async def secrets_in_paths(url: str, secrets: list[str]) -> None:
    """Put secrets where no address has any; the refusal, unlike the log, repeats the path to its sender."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        for secret in secrets:
            for path in ("auth/verify-email", "auth/reset-password", "users/me/sessions", "environments", "nothing"):
                answer = await client.get(f"/api/v1/{path}/{secret}/start")
                assert answer.status_code in (400, 401, 404, 405)


async def secrets_in_broken_headers(url: str, secrets: list[str]) -> None:
    """Put secrets into headers that are none, which are complained about before any handler sees them."""
    broken = (
        "Authorization: {}\x01",
        "Authorization: Bearer\x0b{}",
        "Authorization {}: x",
        "Cookie: session={}\0",
        "Host: {}/",
    )
    for secret in secrets:
        for header in broken:
            reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
            writer.write(f"GET /api/v1/auth/me HTTP/1.1\r\n{header.format(secret)}\r\n\r\n".encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()


@pytest.fixture(scope="module")
def certificates():
    server = CertificateServer()
    yield server
    server.close()


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_secret_is_written_where_it_does_not_belong(log_format: str, certificates: CertificateServer):
    observed = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": log_format}
    google = {"GOOGLE_CLIENT_ID": AUDIENCE, "GOOGLE_CERTIFICATES_URL": certificates.url}
    with running({**observed, **google}) as process:
        async with Web(process.url) as web:
            ear = Eavesdropper(web)
            await everything_with_secrets(Person(web, "eavesdropped", password=FIRST), ear, process.data_dir)
        assert process.stop() == 0
        search(process, ear)


def search(process: ServerProcess, ear: Eavesdropper) -> None:
    log = _MICROSECONDS.sub(b"", process.output.read_bytes())
    assert b"/api/v1/auth/reset-password" in log
    assert len(ear.secrets) > 15
    assert not ear.found_in(log)
    for refusal in ear.refusals:
        assert not ear.found_in(refusal.encode()), refusal
    files = [path for path in process.data_dir.rglob("*") if path.is_file() and path.suffix not in (".eml", ".log")]
    assert [path for path in files if path.name.startswith("devpocket.db")]
    for path in files:
        assert not ear.found_in(path.read_bytes()), path
