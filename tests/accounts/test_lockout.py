"""Wrong passwords: counted before they are looked at, locked after five, and never the owner's live sessions."""

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest

from actors.origin import Origin
from devpocket.errors import UnavailableError
from tests.accounts.conftest import Cluster, SignUp, running
from tests.accounts.mails import mail_to, token_of
from tests.accounts.people import ANOTHER, PASSWORD, Person, Web
from tests.accounts.test_removal import InterruptedRuntime, a_process
from tests.e2e.server import ServerProcess

WRONG = "Wrong1234"
LOCKED = re.compile(r"locked until \d\d:\d\d UTC on \d{1,2} [A-Z][a-z]+ \d{4}")


async def guesses(person: Person, web: Web, number: int) -> list[int]:
    return [(await person.at(web).try_sign_in(WRONG)).status_code for _ in range(number)]


async def test_five_wrong_passwords_lock_sign_in_and_nothing_else(person: Person):
    assert await guesses(person, person.web, 5) == [401] * 5
    for password in (WRONG, person.password):
        refused = await person.at(person.web).try_sign_in(password)
        assert refused.status_code == 403
        assert refused.json()["code"] == "account_locked"
        assert LOCKED.search(refused.json()["detail"]), refused.json()["detail"]
    assert await person.is_signed_in()
    assert (await person.try_refresh()).status_code == 200
    by_address = await person.at(person.web).try_sign_in(name=person.email.upper())
    assert by_address.status_code == 403, "the address is the same account"
    actions = Counter(await person.actions())
    assert actions["sign_in_failed"] == 5
    assert actions["account_locked"] == 1
    assert actions["sign_in_refused"] == 3
    line = next(line for line in await person.activity() if line["action"] == "account_locked")
    assert (line["address"], line["device"]) == ("127.0.0.1", "tests")


async def test_a_wrong_password_is_said_in_the_word_that_the_app_looks_for(person: Person):
    refused = await person.try_sign_in(WRONG)
    assert refused.status_code == 401
    assert "incorrect" in refused.json()["detail"]


async def test_a_right_password_ends_the_counting(person: Person):
    for _ in range(3):
        assert await guesses(person, person.web, 4) == [401] * 4
        assert (await person.try_sign_in()).status_code == 200


async def test_a_stranger_elsewhere_cannot_keep_the_owner_out(person: Person):
    async with Web(person.web.url, address="198.51.100.1") as strangers:
        assert await guesses(person, strangers, 6) == [401] * 5 + [403]
    assert (await person.try_sign_in()).status_code == 200
    async with Web(person.web.url, address="203.0.113.9") as elsewhere:
        assert (await person.at(elsewhere).try_sign_in()).status_code == 200


async def test_guessing_from_many_addresses_locks_the_account_but_not_its_owners_place(person: Person):
    statuses: Counter[int] = Counter()
    for host in range(1, 8):
        async with Web(person.web.url, address=f"198.51.100.{host}") as strangers:
            statuses.update(await guesses(person, strangers, 4))
    assert statuses[401] == 20, "no more looks than these, from however many addresses"
    assert statuses[403] == 8
    async with Web(person.web.url, address="203.0.113.10") as elsewhere:
        assert (await person.at(elsewhere).try_sign_in()).status_code == 403
    assert (await person.try_sign_in()).status_code == 200, "the owner is signed in at this address"
    assert await person.is_signed_in()


async def locked_everywhere(person: Person) -> None:
    """Guess from so many addresses that the account is locked."""
    for host in range(1, 6):
        async with Web(person.web.url, address=f"198.51.100.{host}") as strangers:
            await guesses(person, strangers, 4)
    async with Web(person.web.url, address="203.0.113.10") as elsewhere:
        assert (await person.at(elsewhere).try_sign_in()).status_code == 403


async def test_an_owner_who_has_signed_out_is_let_in_where_there_was_a_sign_in(person: Person):
    assert (await person.delete("/users/me/sessions?include_current=true")).status_code == 200
    await locked_everywhere(person)
    assert (await person.try_sign_in()).status_code == 200


async def test_a_reset_by_mail_lets_the_owner_in_wherever_that_is(people: SignUp, server: ServerProcess):
    person = await people()
    await locked_everywhere(person)
    await person.web.post("/auth/forgot-password", {"email": person.email})
    token = token_of(await mail_to(server.data_dir, person.email, "password_reset"))
    async with Web(person.web.url, address="203.0.113.77") as elsewhere:
        body = {"token": token, "new_password": ANOTHER}
        assert (await elsewhere.post("/auth/reset-password", body)).status_code == 200
        assert (await person.at(elsewhere).try_sign_in(ANOTHER)).status_code == 200
    async with Web(person.web.url, address="203.0.113.78") as strangers:
        assert (await person.at(strangers).try_sign_in(ANOTHER)).status_code == 403, "nobody else"


async def test_a_password_that_could_not_be_looked_at_is_no_wrong_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with a_process(tmp_path, InterruptedRuntime()) as assembly:
        accounts, origin = assembly.backend.accounts, Origin("192.0.2.1")
        await accounts.register(
            username="patient",
            email="patient@example.org",
            password=PASSWORD,
            full_name=None,
            origin=Origin("192.0.2.2"),
        )
        monkeypatch.setattr(assembly.passwords, "_pending", 10**6)
        for _ in range(30):
            with pytest.raises(UnavailableError):
                await accounts.login(identifier="patient", password=PASSWORD, origin=origin)
        monkeypatch.undo()
        assert (await accounts.login(identifier="patient", password=PASSWORD, origin=origin)).access_token


async def test_an_ipv6_customer_is_one_address(person: Person):
    statuses = []
    for host in range(1, 7):
        async with Web(person.web.url, address=f"2001:db8:1:2::{host}") as stranger:
            statuses += await guesses(person, stranger, 1)
    assert statuses == [401] * 5 + [403]


async def test_a_name_that_nobody_has_is_answered_and_locked_like_any_other(web: Web, person: Person):
    nobody = Person(web, "nobody_at_all")
    for each in (nobody, person):
        answers = [await each.at(web).try_sign_in(WRONG) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [403]
        assert len({answer.json()["detail"] for answer in answers}) == 2
    details = {(await each.at(web).try_sign_in(WRONG)).json()["detail"][:40] for each in (nobody, person)}
    assert len(details) == 1


async def test_fifty_guesses_at_once_get_five_looks_over_two_processes(both: tuple[Web, Web], cluster: Cluster):
    person = await Person(both[0]).sign_up()
    answers = await asyncio.gather(*(person.at(both[i % 2]).try_sign_in(WRONG) for i in range(50)))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {401: 5, 403: 45}
    assert (await person.at(both[1]).try_sign_in()).status_code == 403
    assert cluster.database.audit.count_documents({"user_id": person.id, "action": "sign_in_failed"}) == 5
    assert await person.at(both[1]).is_signed_in()
    locked = sum([await web.metric('devpocket_limits_refused_total{limit="lockout"}') for web in both])
    assert locked >= 46


async def test_right_passwords_at_once_lock_nobody_out(people: SignUp):
    person = await people()
    answers = await asyncio.gather(*(person.at(person.web).try_sign_in() for _ in range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20


async def test_a_lock_survives_a_crash_and_ends_by_itself():
    with running(LOCKOUT_DURATION="8s") as process:
        async with Web(process.url) as web:
            person = await Person(web).sign_up()
            assert await guesses(person, web, 3) == [401] * 3
        process.kill()
        process.start()
        async with Web(process.url) as web:
            assert await guesses(person, web, 3) == [401, 401, 403]
            async with asyncio.timeout(20):
                while (await person.at(web).try_sign_in()).status_code == 403:
                    pass
            assert await guesses(person, web, 1) == [401], "the counting began anew"
            assert (await person.at(web).try_sign_in()).status_code == 200


@pytest.mark.parametrize("name", ["{}", " {} ", "{}\u00a0"])
async def test_spaces_and_case_make_no_new_account_to_guess(person: Person, name: str):
    told = name.format(person.username.upper())
    statuses = [(await person.at(person.web).try_sign_in(WRONG, name=told)).status_code for _ in range(5)]
    assert statuses == [401] * 5
    assert (await person.at(person.web).try_sign_in()).status_code == 403
