"""Mails: over a real SMTP server, through its absence, and as files."""

import asyncio
import socket
import stat
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from actors.codes import MAILS_A_DAY
from tests.accounts.conftest import CHEAP, SignUp, running
from tests.accounts.mails import digits_of, mail_to, text_of, token_of
from tests.accounts.people import ANOTHER, Person, Web
from tests.accounts.waiting import until
from tests.e2e.server import ServerProcess
from tests.mail.servers import Mailbox, smtp_server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def smtp_port() -> int:
    """Where the mail server is, while there is one."""
    return free_port()


@pytest.fixture(scope="module")
def mailing(smtp_port: int) -> Iterator[ServerProcess]:
    url, sender = f"smtp://127.0.0.1:{smtp_port}", "DevPocket <hello@dev.example.org>"
    with running(MAIL_URL=url, MAIL_FROM=sender, FRONTEND_URL="https://dev.example.org/app/") as process:
        yield process


@pytest.fixture
async def phone(mailing: ServerProcess) -> AsyncIterator[Web]:
    async with Web(mailing.url) as web:
        yield web


async def test_mails_go_to_the_mail_server_with_text_and_html(phone: Web, smtp_port: int):
    mailbox = Mailbox()
    async with smtp_server(mailbox, port=smtp_port):
        person = await Person(phone).sign_up()
        await mailbox.wait_for(1)
        await phone.post("/auth/forgot-password", {"email": person.email})
        await mailbox.wait_for(2)
    verification, reset = mailbox.messages
    assert (verification["Subject"], reset["Subject"]) == (
        "Verify your DevPocket account",
        "Reset your DevPocket password",
    )
    for mail in (verification, reset):
        assert (mail["To"], mail["From"]) == (person.email, "DevPocket <hello@dev.example.org>")
        assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert "https://dev.example.org/app/verify-email?token=" in text_of(verification)
    assert digits_of(verification) in verification.get_body(("html",)).get_content()
    assert (await person.post("/auth/verify-email", {"token": digits_of(verification)})).status_code == 200
    body = {"token": token_of(reset), "new_password": ANOTHER}
    assert (await phone.post("/auth/reset-password", body)).status_code == 200
    assert (await person.try_sign_in(ANOTHER)).status_code == 200


async def test_a_dead_mail_server_delays_nothing_and_mails_arrive_later(
    phone: Web, mailing: ServerProcess, smtp_port: int
):
    times_s, people = [], []
    for _ in range(5):
        began_s = time.monotonic()
        people.append(await Person(phone).sign_up())
        times_s.append(time.monotonic() - began_s)
    assert max(times_s) < 2, times_s
    person = people[0]
    early = await person.post("/auth/resend-verification")
    assert early.status_code == 429
    await until(lambda: mailing.output.read_text().count("mail_delayed") >= 5, "the first tries")
    assert mailing.stop() == 0
    mailbox = Mailbox()
    async with smtp_server(mailbox, port=smtp_port):
        await asyncio.to_thread(mailing.start)
        await until(lambda: len(mailbox.envelopes) >= 5, "the arrival of all mails", patience_s=30)
    async with Web(mailing.url) as web:
        digits = {mail["To"]: digits_of(mail) for mail in mailbox.messages}
        for each in people:
            answer = await each.at(web).post("/auth/verify-email", {"token": digits[each.email]})
            assert answer.status_code == 200


async def test_a_silent_mail_server_delays_nothing(phone: Web, smtp_port: int):
    with socket.create_server(("127.0.0.1", smtp_port)):
        began_s = time.monotonic()
        await asyncio.gather(*(Person(phone).sign_up() for _ in range(10)))
        assert time.monotonic() - began_s < 5


async def test_where_mails_are_sent_an_environment_needs_a_verified_address(phone: Web, smtp_port: int):
    mailbox, wish = Mailbox(), {"name": "one", "template_id": "ubuntu"}
    async with smtp_server(mailbox, port=smtp_port):
        person = await Person(phone).sign_up()
        refused = await person.post("/environments/", wish)
        assert refused.status_code == 403
        assert "verify your e-mail address" in refused.json()["detail"]
        assert (await person.get("/environments/")).json() == []
        (mail,) = await until(lambda: [each for each in mailbox.messages if each["To"] == person.email], "the mail")
    assert (await person.post("/auth/verify-email", {"token": digits_of(mail)})).status_code == 200
    created = await person.post("/environments/", wish)
    assert created.status_code == 201
    assert (await person.delete(f"/environments/{created.json()['id']}")).status_code == 204


async def test_a_mailbox_gets_few_mails_however_often_an_account_is_made_for_it(people: SignUp, web: Web):
    refused = await web.metric('devpocket_limits_refused_total{limit="mail"}')
    for _ in range(MAILS_A_DAY):
        person = await people(name="again_and_again")
        assert (await person.delete("/users/me")).status_code == 200
    assert await web.metric('devpocket_limits_refused_total{limit="mail"}') == refused
    await people(name="again_and_again")
    async with asyncio.timeout(10):
        while await web.metric('devpocket_limits_refused_total{limit="mail"}') != refused + 1:
            pass


async def test_strangers_are_not_written_to_with_a_message_for_a_name(web: Web, server: ServerProcess):
    person, bait = Person(web), "You have won, see www.example.net"
    body = {"username": person.username, "email": person.email, "password": person.password, "full_name": bait}
    person.tokens = (await web.post("/auth/register", body)).json()
    first = await mail_to(server.data_dir, person.email)
    assert f"Hello {person.username}," in text_of(first)
    assert bait not in first.as_string()
    assert (await person.post("/auth/verify-email", {"token": digits_of(first)})).status_code == 200
    await web.post("/auth/forgot-password", {"email": person.email})
    assert f"Hello {bait}," in text_of(await mail_to(server.data_dir, person.email, "password_reset"))


async def test_where_no_mails_are_sent_it_does_not(person: Person):
    created = await person.post("/environments/", {"name": "one", "template_id": "ubuntu"})
    assert created.status_code == 201
    assert (await person.delete(f"/environments/{created.json()['id']}")).status_code == 204


async def test_without_a_mail_server_mails_are_private_files_named_in_the_log(people: SignUp, server: ServerProcess):
    person = await people()
    mail = await mail_to(server.data_dir, person.email, "verification")
    folder = server.data_dir / "mail"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (path,) = [each for each in folder.iterdir() if person.email in each.read_text()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await until(lambda: path.name in server.output.read_text(), "the name in the log")
    assert digits_of(mail) not in server.output.read_text()
    assert token_of(mail) not in server.output.read_text()
    assert "REQUIRE_VERIFIED_EMAIL" not in CHEAP
