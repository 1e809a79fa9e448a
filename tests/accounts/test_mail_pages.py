"""The links of mails, opened in a browser on a server that has no frontend."""

import re
from html import unescape

import httpx

from tests.accounts.conftest import SignUp
from tests.accounts.mails import mail_to, text_of, token_of
from tests.accounts.people import ANOTHER, Person
from tests.e2e.server import ServerProcess


def link_of(text: str) -> str:
    found = re.search(r"http://\S+", text)
    assert found, text
    return found[0].replace("localhost", "127.0.0.1")


def form_of(page: httpx.Response) -> dict[str, str]:
    """Return what the page's form would send, checking that a browser may show and send it."""
    assert page.status_code == 200, page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "form-action 'self'" in policy
    assert "script-src" not in policy
    assert "<script" not in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    assert re.search(f"<form method=post action={page.url.path[1:]}>", page.text)
    return {name: unescape(value) for name, value in re.findall(r'type=hidden name=(\w+) value="([^"]*)"', page.text)}


async def test_the_verification_link_shows_a_button_that_verifies(person: Person, server: ServerProcess):
    mail = await mail_to(server.data_dir, person.email, "verification")
    link = link_of(text_of(mail))
    page = await person.web.http.get(link)
    form = form_of(page)
    assert form == {"token": token_of(mail)}
    assert not (await person.get("/auth/me")).json()["is_verified"], "opening it is not enough"
    done = await person.web.http.post(link.partition("?")[0], data=form)
    assert done.status_code == 200
    assert "is verified" in done.text
    assert (await person.get("/auth/me")).json()["is_verified"]
    again = await person.web.http.post(link.partition("?")[0], data=form)
    assert again.status_code == 400
    assert "used already" in again.text


async def test_the_reset_link_asks_for_a_password(people: SignUp, server: ServerProcess):
    person = await people()
    await person.web.post("/auth/forgot-password", {"email": person.email})
    link = link_of(text_of(await mail_to(server.data_dir, person.email, "password_reset")))
    page = await person.web.http.get(link)
    assert "type=password name=new_password" in page.text
    address = link.partition("?")[0]
    weak = await person.web.http.post(address, data={**form_of(page), "new_password": "weak"})
    assert weak.status_code == 422
    assert "at least 8 characters" in weak.text
    done = await person.web.http.post(address, data={**form_of(page), "new_password": ANOTHER})
    assert done.status_code == 200
    assert not await person.is_signed_in()
    assert (await person.try_sign_in(ANOTHER)).status_code == 200


async def test_what_is_in_the_address_is_shown_as_text_and_nonsense_refused(person: Person):
    http = person.web.http
    hostile = '"><script>alert(1)</script>'
    page = await http.get("/reset-password", params={"token": hostile})
    assert form_of(page) == {"token": hostile}
    for path in ("/verify-email", "/reset-password"):
        assert (await http.get(path)).status_code == 422
        assert (await http.get(f"{path}?token=%00")).status_code == 422
        for content in (b"", b"\xff", b"token=%ff", b"token=%ED%A0%80", b"&" * 1000, b"a=1&" * 1000, b'{"token": "x"}'):
            refused = await http.post(path, content=content)
            assert refused.status_code in (400, 422), content[:20]
            assert refused.headers["content-type"].startswith("text/html")
            assert "<h1>" in refused.text
        assert (await http.post(path, data={"token": "x", "new_password": ANOTHER})).status_code == 400
