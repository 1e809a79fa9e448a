"""Signing in with Google, with a key and a certificate endpoint of the tests' own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count

import httpx
import pytest

from tests.accounts.conftest import running
from tests.accounts.mails import digits_of, mail_to
from tests.accounts.people import ANOTHER, Json, Person, Web
from tests.auth.google_tokens import AUDIENCE, OTHER_AUDIENCE, WRONG, CertificateServer, signed
from tests.e2e.server import ServerProcess
from tests.phone import parsers
from tests.phone.parsers import parse

_subjects = count(1)


@pytest.fixture(scope="module")
def certificates() -> Iterator[CertificateServer]:
    server = CertificateServer()
    server.cache_control = "no-store"
    yield server
    server.close()


@pytest.fixture(scope="module")
def googling(certificates: CertificateServer) -> Iterator[ServerProcess]:
    with running(GOOGLE_CLIENT_ID=f"{AUDIENCE}, {OTHER_AUDIENCE}", GOOGLE_CERTIFICATES_URL=certificates.url) as process:
        yield process


@pytest.fixture
async def phone(googling: ServerProcess) -> AsyncIterator[Web]:
    async with Web(googling.url) as web:
        yield web


class Account:
    """Somebody's Google account."""

    def __init__(self, name: str = "") -> None:
        number = next(_subjects)
        self.subject = f"g{number}"
        self.email = f"{name or f'googler{number}'}@gmail.com"

    async def sign_in(self, web: Web, **changes: object) -> httpx.Response:
        token = signed(**{"sub": self.subject, "email": self.email, **changes})
        return await web.post("/auth/google", {"id_token": token, "access_token": None})


def user_of(response: httpx.Response) -> Json:
    assert response.status_code == 200, response.text
    user: Json = parse(parsers.TOKEN, response.json())["user"]
    return user


@pytest.mark.parametrize("audience", [AUDIENCE, OTHER_AUDIENCE])
async def test_an_unknown_person_gets_an_account_and_the_same_one_again(phone: Web, audience: str):
    account = Account()
    first = user_of(await account.sign_in(phone, aud=audience, picture="https://example.com/a.png"))
    assert first["email"] == account.email
    assert first["is_verified"]
    assert first["avatar_url"] == "https://example.com/a.png"
    again = user_of(await account.sign_in(phone, email="renamed@gmail.com"))
    assert again["id"] == first["id"]
    login = await phone.post("/auth/login", {"username_or_email": account.email, "password": "None12345"})
    assert login.status_code == 401, "an account without a password cannot be signed in to with one"


async def test_a_first_sign_in_that_comes_twice_makes_one_account(phone: Web):
    account = Account()
    answers = await asyncio.gather(*(account.sign_in(phone) for _ in range(6)))
    assert len({user_of(answer)["id"] for answer in answers}) == 1


async def test_usernames_are_made_from_the_address_until_one_is_free(phone: Web):
    names = [user_of(await Account("Same.Name").sign_in(phone, email=f"same.name@d{i}.example.org")) for i in range(3)]
    assert [user["username"] for user in names] == ["samename", "samename2", "samename3"]


async def test_a_verified_account_is_linked_and_keeps_everything(phone: Web, googling: ServerProcess):
    account = Account()
    person = Person(phone)
    person.email = account.email.upper()
    await person.sign_up()
    digits = digits_of(await mail_to(googling.data_dir, account.email))
    assert (await person.post("/auth/verify-email", {"token": digits})).status_code == 200
    assert user_of(await account.sign_in(phone))["id"] == person.id
    assert await person.is_signed_in()
    assert (await person.try_sign_in()).status_code == 200
    assert {"google_linked", "signed_in_with_google"} <= set(await person.actions())


async def test_who_registered_anothers_address_is_put_out_by_its_owner(phone: Web):
    account = Account()
    thief = Person(phone)
    thief.email = account.email
    await thief.sign_up()
    owner = user_of(await account.sign_in(phone))
    assert owner["id"] == thief.id
    assert owner["is_verified"]
    assert not await thief.is_signed_in()
    assert (await thief.try_refresh()).status_code == 401
    assert (await thief.try_sign_in()).status_code == 401


async def test_a_mailbox_given_to_somebody_else_does_not_bring_the_account_along(phone: Web):
    account = Account()
    owner = user_of(await account.sign_in(phone))
    successor = await account.sign_in(phone, sub="somebody-else")
    assert successor.status_code == 409
    assert user_of(await account.sign_in(phone))["id"] == owner["id"]


async def test_a_closed_account_stays_closed_until_it_is_gone(phone: Web):
    account = Account()
    answer = await account.sign_in(phone)
    person = Person(phone)
    person.tokens = answer.json()
    assert (await person.delete("/users/me")).status_code == 200
    async with asyncio.timeout(10):
        while (again := await account.sign_in(phone)).status_code == 403:
            pass
    assert user_of(again)["id"] != person.id


async def test_every_wrong_token_is_refused(phone: Web):
    for reason, make in WRONG.items():
        token = make()
        if "surrogate" in reason:
            content = b'{"id_token": "a.b.\\ud800"}'
            answer = await phone.call("POST", "/auth/google", content=content)
        else:
            answer = await phone.post("/auth/google", {"id_token": token})
        assert answer.status_code in (400, 401, 422), (reason, answer.text)
        if "MB" not in reason and "surrogate" not in reason and token:
            assert answer.status_code == 401, reason


async def test_googles_silence_is_not_the_tokens_fault(phone: Web, certificates: CertificateServer):
    certificates.status = 500
    try:
        refused = await Account().sign_in(phone)
    finally:
        certificates.status = 200
    assert refused.status_code == 503
    assert "Google cannot be asked" in refused.json()["detail"]
    user_of(await Account().sign_in(phone))


async def test_where_it_is_not_set_up_a_sentence_says_so(web: Web):
    for body in ({"id_token": "x"}, {"token": "x"}):
        answer = await web.post("/auth/google", body)
        assert answer.status_code == 503
        assert "not set up" in answer.json()["detail"]
    info = await web.call("GET", "/info")
    assert info.json()["features"]["google_oauth"] is False


async def test_an_account_without_password_gets_one_by_mail(phone: Web, googling: ServerProcess):
    account = Account()
    person = Person(phone)
    person.tokens = (await account.sign_in(phone)).json()
    changed = await person.post("/auth/change-password", {"current_password": "None12345", "new_password": ANOTHER})
    assert changed.status_code == 400
    await phone.post("/auth/forgot-password", {"email": account.email})
    assert await mail_to(googling.data_dir, account.email, "password_reset")
