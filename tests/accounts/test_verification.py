"""The address is proved by six digits of the signed-in user, or by a link."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.accounts.conftest import Cluster, SignUp
from tests.accounts.mails import digits_of, mail_to, token_of
from tests.accounts.people import Person, Web
from tests.accounts.waiting import until
from tests.e2e.server import ServerProcess


def other_than(digits: str) -> str:
    return f"{(int(digits) + 1) % 1_000_000:06d}"


async def verify(person: Person, token: str) -> httpx.Response:
    return await person.post("/auth/verify-email", {"token": token})


async def is_verified(person: Person) -> bool:
    return bool((await person.get("/auth/me")).json()["is_verified"])


async def test_six_digits_verify_and_may_come_again(person: Person, server: ServerProcess):
    digits = digits_of(await mail_to(server.data_dir, person.email))
    assert not await is_verified(person)
    wrong = await verify(person, other_than(digits))
    assert wrong.status_code == 400
    assert wrong.json()["errors"][0]["field"] == "token"
    assert (await verify(person, f" {digits[:3]} {digits[3:]} ")).status_code == 200
    assert await is_verified(person)
    assert (await verify(person, digits)).status_code == 200
    assert (await verify(person, "whatever")).status_code == 200
    assert (await person.post("/auth/resend-verification")).status_code == 400
    line = next(line for line in await person.activity() if line["action"] == "email_verified")
    assert (line["address"], line["device"]) == ("127.0.0.1", "tests")


async def test_somebody_elses_digits_and_link_are_worth_nothing(people: SignUp, server: ServerProcess):
    person, stranger = await people(), await people()
    mail = await mail_to(server.data_dir, stranger.email)
    if digits_of(mail) != digits_of(await mail_to(server.data_dir, person.email)):
        assert (await verify(person, digits_of(mail))).status_code == 400
    assert (await verify(person, token_of(mail))).status_code == 400
    assert not await is_verified(person)
    assert not await is_verified(stranger)
    assert (await verify(stranger, token_of(mail))).status_code == 200, "the link is still good for its owner"
    assert (await person.web.post("/auth/verify-email", {"token": digits_of(mail)})).status_code == 401


async def test_five_tries_and_the_right_digits_are_refused(person: Person, server: ServerProcess):
    digits = digits_of(await mail_to(server.data_dir, person.email))
    wrong = other_than(digits)
    answers = await asyncio.gather(*(verify(person, wrong) for _ in range(12)))
    assert [answer.status_code for answer in answers] == [400] * 12
    refused = await verify(person, digits)
    assert refused.status_code == 400
    assert "too many" in refused.json()["detail"]
    assert not await is_verified(person)


async def test_the_link_works_without_being_signed_in_and_once(person: Person, server: ServerProcess):
    token = token_of(await mail_to(server.data_dir, person.email))
    assert (await person.web.post("/auth/verify-email/link", {"token": token[:-1]})).status_code == 400
    assert (await person.web.post("/auth/verify-email/link", {"token": token})).status_code == 200
    assert (await person.web.post("/auth/verify-email/link", {"token": token})).status_code == 400
    assert await is_verified(person)
    assert (
        await person.web.post("/auth/reset-password", {"token": token, "new_password": "Another77"})
    ).status_code == 400


async def test_the_link_may_be_pasted_where_digits_are_asked_for(person: Person, server: ServerProcess):
    token = token_of(await mail_to(server.data_dir, person.email))
    assert (await verify(person, token)).status_code == 200
    assert await is_verified(person)


async def test_a_code_is_sent_again_after_a_minute_and_only_the_newest_counts(both: tuple[Web, Web], cluster: Cluster):
    person, codes = await Person(both[0]).sign_up(), cluster.database.codes

    async def newest() -> str:
        """Return the digits of the newest mail, whichever process has written it."""
        count = codes.count_documents({"user_id": person.id})
        mails = await until(lambda: (found := cluster.mails_to(person.email))[count - 1 :] and found, "the mail")
        return digits_of(mails[-1])

    await until(lambda: codes.find_one({"user_id": person.id}), "a code")
    first = await newest()
    early = await both[1].post("/auth/resend-verification", token=person.access_token)
    assert early.status_code == 429
    assert 1 <= int(early.headers["retry-after"]) <= 60
    assert early.json()["retry_after"] == int(early.headers["retry-after"])
    ago = datetime.now(UTC) - timedelta(seconds=61)
    codes.update_many({"user_id": person.id}, {"$set": {"created_at": ago}})
    assert (await person.post("/auth/resend-verification")).status_code == 200
    second = await newest()
    if first != second:
        assert (await verify(person, first)).status_code == 400
    for number, code in enumerate(codes.find({"user_id": person.id}).sort("created_at")):
        made_at = ago - timedelta(hours=24, seconds=-number)
        codes.update_one({"_id": code["_id"]}, {"$set": {"created_at": made_at, "expires_at": ago}})
    expired = await verify(person, second)
    assert expired.status_code == 400
    assert "expired" in expired.json()["detail"]
    cluster.database.attempts.delete_many({"_id": {"$regex": "^mail-after:"}})  # the minutes of those mails are over
    assert (await person.post("/auth/resend-verification")).status_code == 200
    assert (await verify(person, await newest())).status_code == 200


async def test_of_ten_who_ask_at_once_one_is_sent_a_mail(both: tuple[Web, Web], cluster: Cluster):
    person, codes = await Person(both[0]).sign_up(), cluster.database.codes
    await until(lambda: codes.find_one({"user_id": person.id}), "a code")
    ago = datetime.now(UTC) - timedelta(seconds=61)
    codes.update_many({"user_id": person.id}, {"$set": {"created_at": ago}})
    asked = (both[i % 2].post("/auth/resend-verification", token=person.access_token) for i in range(10))
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [200] + [429] * 9
    assert codes.count_documents({"user_id": person.id}) == 2


async def test_codes_are_kept_as_hashes(both: tuple[Web, Web], cluster: Cluster):
    person = await Person(both[0]).sign_up()
    (document,) = await until(lambda: list(cluster.database.codes.find({"user_id": person.id})), "a code")
    assert document["expires_at"] - document["created_at"] == timedelta(hours=24)
    assert len(document["code_hash"]) == len(document["token_hash"]) == 64


@pytest.mark.parametrize("token", ["", " ", "12345", "1234567", "12345a", "١٢٣٤٥٦", "-12345", "1e5000", "\0" * 6])
async def test_what_is_no_code_is_refused(person: Person, token: str):
    assert (await verify(person, token)).status_code in (400, 422)
    assert not await is_verified(person)
