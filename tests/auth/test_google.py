"""Google's ID tokens with a key and a certificate endpoint of the test's own, over real HTTP."""

import asyncio
import contextlib
import json
import socket
import threading

import pytest

from devpocket.auth.google import Google, GoogleSettings
from devpocket.errors import UnauthenticatedError, UnavailableError
from tests.auth.google_tokens import AUDIENCE, KEY, OTHER_AUDIENCE, STRANGERS_KEY, WRONG, CertificateServer, signed


@pytest.fixture
def certificates():
    server = CertificateServer()
    yield server
    server.close()


@pytest.fixture
async def google(certificates):
    verifier = Google(GoogleSettings((AUDIENCE, OTHER_AUDIENCE), certificates.url))
    yield verifier
    await verifier.close()


@pytest.mark.parametrize("audience", [AUDIENCE, OTHER_AUDIENCE])
@pytest.mark.parametrize("issuer", ["accounts.google.com", "https://accounts.google.com"])
async def test_a_genuine_token_names_somebody(google, audience, issuer):
    identity = await google.verify(signed(aud=audience, iss=issuer))
    assert (identity.google_id, identity.email) == ("1234567890", "Alice@example.com")
    assert (identity.full_name, identity.picture_url) == ("Alice <b>", "https://example.com/a.png")


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines", "\u202eevil", "\0", " ", 5, []])
@pytest.mark.parametrize("picture", ["javascript:alert(1)", "http://example.com/a.png", "https://" + "x" * 2048, 5])
async def test_name_and_picture_that_cannot_be_shown_are_left_out(google, name, picture):
    identity = await google.verify(signed(name=name, picture=picture))
    assert (identity.full_name, identity.picture_url) == (None, None)


async def test_name_and_picture_may_be_absent(google):
    identity = await google.verify(signed(name=..., picture=None))
    assert (identity.full_name, identity.picture_url) == (None, None)


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
async def test_every_wrong_token_is_refused_with_the_one_sentence(google, make):
    with pytest.raises(UnauthenticatedError) as caught:
        await google.verify(make())
    assert (
        caught.value.public == "Google's confirmation of your sign-in is not valid. Please sign in with Google again."
    )


async def test_without_a_client_id_it_is_said_to_be_off():
    google = Google(GoogleSettings())
    assert not google.is_configured
    with pytest.raises(UnavailableError, match="not set up") as caught:
        await google.verify(signed())
    assert caught.value.code == "google_not_configured"
    await google.close()


async def test_certificates_are_fetched_once_and_again_when_their_time_is_over(certificates):
    now = 0.0
    google = Google(GoogleSettings((AUDIENCE,), certificates.url), monotonic=lambda: now)
    try:
        await asyncio.gather(*(google.verify(signed()) for _ in range(10)))
        assert certificates.hits == 1
        now = 299.0
        await google.verify(signed())
        assert certificates.hits == 1
        now = 300.0
        certificates.body = json.dumps({"kid-1": STRANGERS_KEY.certificate})
        with pytest.raises(UnauthenticatedError):
            await google.verify(signed())
        assert certificates.hits == 2
    finally:
        await google.close()


async def test_without_a_lifetime_certificates_are_not_kept(certificates, google):
    certificates.cache_control = "no-store"
    await google.verify(signed())
    await google.verify(signed())
    assert certificates.hits == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, "{}"), (404, "{}"), (200, "<html>"), (200, "[]"), (200, '{"keys":[]}'), (200, "[" * 9999)],
)
async def test_a_broken_certificate_server_is_no_fault_of_the_token(certificates, google, status, body):
    certificates.status, certificates.body = status, body
    with pytest.raises(UnavailableError) as caught:
        await google.verify(signed())
    assert caught.value.retry_after_s == 60
    certificates.status, certificates.body = 200, json.dumps({"kid-1": KEY.certificate})
    assert (await google.verify(signed())).google_id == "1234567890"


async def test_a_certificate_server_that_is_down_or_silent_is_no_fault_of_the_token(certificates):
    certificates.close()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for url in (certificates.url, f"http://127.0.0.1:{silent.getsockname()[1]}/certs"):
            google = Google(GoogleSettings((AUDIENCE,), url, timeout_s=0.3))
            with pytest.raises(UnavailableError):
                await google.verify(signed())
            await google.close()


async def test_a_certificate_server_that_trickles_is_given_up():
    def trickle(trickling: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = trickling.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
                while not ended.wait(0.05):
                    connection.sendall(b" ")

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as trickling:
        thread = threading.Thread(target=trickle, args=(trickling,))
        thread.start()
        google = Google(GoogleSettings((AUDIENCE,), f"http://127.0.0.1:{trickling.getsockname()[1]}", timeout_s=0.5))
        try:
            async with asyncio.timeout(10):
                with pytest.raises(UnavailableError):
                    await google.verify(signed())
        finally:
            ended.set()
            thread.join()
            await google.close()


async def test_more_tokens_than_fit_the_queue_are_sent_away(certificates):
    google = Google(GoogleSettings((AUDIENCE,), certificates.url, queue_limit=1))
    try:
        answers = await asyncio.gather(*(google.verify(signed()) for _ in range(3)), return_exceptions=True)
        assert [isinstance(answer, UnavailableError) for answer in answers] == [False, True, True]
        await google.verify(signed())
    finally:
        await google.close()
