"""A new password by mail: the same answer for everybody, a token that works once, and all sessions end."""

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta

from tests.accounts.conftest import Cluster, SignUp
from tests.accounts.mails import mail_to, token_of, written_to
from tests.accounts.people import ANOTHER, Person, Web
from tests.accounts.waiting import until
from tests.e2e.server import ServerProcess


async def test_a_token_sets_a_password_once_and_ends_all_sessions(people: SignUp, server: ServerProcess):
    person = await people()
    other = await person.at(person.web).sign_in()
    asked = await person.web.post("/auth/forgot-password", {"email": person.email.upper()})
    assert asked.status_code == 200
    token = token_of(await mail_to(server.data_dir, person.email, "password_reset"))
    weak = await person.web.post("/auth/reset-password", {"token": token, "new_password": "weak"})
    assert weak.status_code == 422, "a weak password does not use the token up"
    body = {"token": token, "new_password": ANOTHER}
    answers = await asyncio.gather(*(person.web.post("/auth/reset-password", body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400]
    assert not await person.is_signed_in()
    assert not await other.is_signed_in()
    assert (await person.try_refresh()).status_code == 401
    assert (await person.try_sign_in()).status_code == 401
    assert (await person.try_sign_in(ANOTHER)).status_code == 200
    assert (await person.get("/auth/me")).json()["is_verified"], "the token was read in that mailbox"
    assert "password_reset" in await person.actions()


async def test_a_reset_opens_the_lock_for_its_owner(people: SignUp, server: ServerProcess):
    person = await people()
    assert [(await person.try_sign_in("Wrong1234")).status_code for _ in range(6)] == [401] * 5 + [403]
    await person.web.post("/auth/forgot-password", {"email": person.email})
    token = token_of(await mail_to(server.data_dir, person.email, "password_reset"))
    await person.web.post("/auth/reset-password", {"token": token, "new_password": ANOTHER})
    assert (await person.try_sign_in(ANOTHER)).status_code == 200


async def test_a_changed_password_voids_the_mailed_token(people: SignUp, server: ServerProcess):
    person = await people()
    await person.web.post("/auth/forgot-password", {"email": person.email})
    token = token_of(await mail_to(server.data_dir, person.email, "password_reset"))
    changed = {"current_password": person.password, "new_password": ANOTHER}
    assert (await person.post("/auth/change-password", changed)).status_code == 200
    late = await person.web.post("/auth/reset-password", {"token": token, "new_password": "Thief1234"})
    assert late.status_code == 400


async def test_nobody_learns_whether_an_address_is_known(people: SignUp, server: ServerProcess):
    known = [await people() for _ in range(15)]
    web = known[0].web
    times_s: dict[str, list[float]] = {"known": [], "unknown": []}
    for number, person in enumerate(known):
        for kind, email in (("known", person.email), ("unknown", f"nobody{number}@example.org")):
            began_s = time.perf_counter()
            answer = await web.post("/auth/forgot-password", {"email": email})
            times_s[kind].append(time.perf_counter() - began_s)
            assert answer.status_code == 200
            assert set(answer.json()) == {"message"}
            assert "If there is an account" in answer.json()["message"]
    medians_s = {kind: statistics.median(each) for kind, each in times_s.items()}
    assert abs(medians_s["known"] - medians_s["unknown"]) < 0.02, medians_s
    for person in known:
        await mail_to(server.data_dir, person.email, "password_reset")
    assert not written_to(server.data_dir, "nobody1@example.org")


async def test_mails_are_few_and_tokens_live_for_an_hour(both: tuple[Web, Web], cluster: Cluster):
    person, codes = await Person(both[0]).sign_up(), cluster.database.codes
    mine = {"user_id": person.id, "purpose": "reset_password"}

    async def ask_and_wait(count: int) -> None:
        await both[0].post("/auth/forgot-password", {"email": person.email})
        await until(lambda: codes.count_documents(mine) >= count, f"code {count}")

    await ask_and_wait(1)
    for web in both:
        refused = await web.metric('devpocket_limits_refused_total{limit="mail"}')
        assert (await web.post("/auth/forgot-password", {"email": person.email})).status_code == 200
        async with asyncio.timeout(10):
            while await web.metric('devpocket_limits_refused_total{limit="mail"}') == refused:
                pass
    document = codes.find_one(mine)
    assert document is not None
    assert document["expires_at"] - document["created_at"] == timedelta(hours=1)
    ago = datetime.now(UTC) - timedelta(seconds=61)
    codes.update_many(mine, {"$set": {"created_at": ago}})
    await ask_and_wait(2)
    assert codes.count_documents(mine) == 2, "those within the minute sent nothing"
    mails = await until(lambda: (found := cluster.mails_to(person.email, "password_reset"))[1:] and found, "the mails")
    codes.update_many(mine, {"$set": {"expires_at": ago}})
    for mail in mails:
        body = {"token": token_of(mail), "new_password": ANOTHER}
        assert (await both[1].post("/auth/reset-password", body)).status_code == 400
    assert (await person.try_sign_in()).status_code == 200
