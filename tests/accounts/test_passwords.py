"""Passwords: the rule, the change, and hashes that grow with the settings."""

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.accounts.conftest import SignUp, running
from tests.accounts.people import ANOTHER, Person, Web

TOO_WEAK = {
    "short": "Abc1234",
    "without upper case": "abcdefg1",
    "without lower case": "ABCDEFG1",
    "without digit": "Abcdefgh",
    "129 characters": "Aa1" + "x" * 126,
    "a megabyte": "Aa1" + "x" * 1_000_000,
    "with NUL": "Abcdefg1\0",
    "common": "Password1",
    "common in capitals": "PASSword123",
    "common with a sign": "P@ssw0rd",
    "common keyboard": "Qwerty123",
    "empty": "",
}


@pytest.mark.parametrize("password", TOO_WEAK.values(), ids=TOO_WEAK.keys())
async def test_a_weak_password_is_refused_wherever_one_is_set(web: Web, person: Person, password: str):
    stranger = Person(web)
    body = {"username": stranger.username, "email": stranger.email, "password": password}
    change = {"current_password": person.password, "new_password": password}
    refusals = [
        await web.post("/auth/register", body),
        await web.post("/auth/reset-password", {"token": "x" * 43, "new_password": password}),
        await person.post("/auth/change-password", change),
        await person.post("/users/change-password", change),
    ]
    assert [(answer.status_code, {each["field"] for each in answer.json()["errors"]}) for answer in refusals] == [
        (422, {"password"}),
        (422, {"new_password"}),
        (422, {"new_password"}),
        (422, {"new_password"}),
    ]
    for answer in refusals:
        assert not re.search("could not create user|duplicate|validation", answer.json()["detail"], re.IGNORECASE)
        assert len(password) < 3 or password not in answer.text
    assert (await stranger.try_sign_in(password or "none")).status_code in (401, 422)


@pytest.mark.parametrize("password", ["Turtle55", "Aa1" + "x" * 125, "Żółw12345", "Aa1 " * 4, "Aa1🐢🐢🐢🐢🐢"])
async def test_a_password_that_keeps_the_rule_works(people: SignUp, password: str):
    person = await people(password=password)
    assert (await person.try_sign_in(password)).status_code == 200
    assert (await person.try_sign_in(password + " ")).status_code == 401
    assert (await person.try_sign_in(password[:-1])).status_code == 401


@pytest.mark.parametrize("path", ["/auth/change-password", "/users/change-password"])
async def test_a_changed_password_ends_the_other_sessions(people: SignUp, path: str):
    person = await people()
    other = await person.at(person.web).sign_in()
    wrong = await person.post(path, {"current_password": "Wrong1234", "new_password": ANOTHER})
    assert wrong.status_code == 400
    assert wrong.json()["errors"][0]["field"] == "current_password"
    assert await other.is_signed_in()
    right = await person.post(path, {"current_password": person.password, "new_password": ANOTHER})
    assert right.status_code == 200
    assert right.json()["message"]
    assert await person.is_signed_in()
    assert not await other.is_signed_in()
    assert (await person.try_sign_in(person.password)).status_code == 401
    assert (await person.try_sign_in(ANOTHER)).status_code == 200
    actions = await person.actions()
    assert {"password_changed", "password_change_refused"} <= set(actions)


async def test_a_sign_in_that_is_under_way_does_not_outlive_the_password(both: tuple[Web, Web]):
    for _ in range(3):
        person = await Person(both[0]).sign_up()
        late = [person.at(both[number % 2]) for number in range(12)]
        body = {"current_password": person.password, "new_password": ANOTHER}
        changed, *answers = await asyncio.gather(
            person.post("/auth/change-password", body), *(each.try_sign_in() for each in late)
        )
        assert changed.status_code == 200
        let_in = [each for each, answer in zip(late, answers, strict=True) if answer.status_code == 200]
        assert not [each for each in let_in if await each.is_signed_in()]
        assert await person.is_signed_in()


async def test_of_changes_at_once_one_is_made(both: tuple[Web, Web]):
    person = await Person(both[0]).sign_up()
    devices = [await person.at(both[number % 2]).sign_in() for number in range(6)]
    paths = ("/auth/change-password", "/users/change-password")
    answers = await asyncio.gather(
        *(
            device.post(paths[number % 2], {"current_password": person.password, "new_password": f"Another{number}x"})
            for number, device in enumerate(devices)
        )
    )
    (winner,) = (number for number, answer in enumerate(answers) if answer.status_code == 200)
    assert {answer.status_code for answer in answers} <= {200, 400, 401, 429}
    assert [await device.is_signed_in() for device in devices] == [number == winner for number in range(6)]
    assert (await person.at(both[1]).try_sign_in(f"Another{winner}x")).status_code == 200


async def test_a_session_left_open_is_no_way_to_guess_the_password(people: SignUp):
    person = await people()
    body = {"current_password": "Wrong1234", "new_password": ANOTHER}
    statuses = [(await person.post("/auth/change-password", body)).status_code for _ in range(7)]
    assert statuses == [400] * 5 + [429] * 2
    right = await person.post("/auth/change-password", {**body, "current_password": person.password})
    assert right.status_code == 429
    assert 1 <= int(right.headers["retry-after"]) <= 60
    assert await person.is_signed_in()


def hashes_in(data_dir: Path) -> list[str]:
    """Return the parameters of all password hashes in the database of a server that does not run."""
    with closing(sqlite3.connect(data_dir / "devpocket.db")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [str(row) for name in tables if "users" in name for row in database.execute(f"SELECT * FROM {name}")]  # noqa: S608
    return re.findall(r"\$argon2id\$v=19\$(m=\d+,t=\d+,p=\d+)\$", "\n".join(rows))


async def test_a_hash_is_made_anew_at_sign_in_when_the_settings_grow():
    with running() as process:
        async with Web(process.url) as web:
            person, absent = await Person(web).sign_up(), await Person(web).sign_up()
        process.stop()
        assert hashes_in(process.data_dir) == ["m=64,t=1,p=1"] * 2
        process.variables |= {"PASSWORD_MEMORY": "128KiB", "PASSWORD_TIME_COST": "2"}
        process.start()
        async with Web(process.url) as web:
            assert (await person.at(web).try_sign_in()).status_code == 200
            assert (await person.at(web).try_sign_in("Wrong1234")).status_code == 401
            assert (await person.at(web).try_sign_in()).status_code == 200
            assert await person.at(web).is_signed_in()
        process.stop()
        assert sorted(hashes_in(process.data_dir)) == ["m=128,t=2,p=1", "m=64,t=1,p=1"]
        assert absent.id
