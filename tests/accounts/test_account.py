"""One's own account: shown, changed, counted, and deleted with everything that belongs to it."""

import asyncio
from typing import Any

import pytest

from tests.accounts.conftest import Cluster, SignUp
from tests.accounts.mails import mail_to, written_to
from tests.accounts.people import Person, Web
from tests.accounts.waiting import until
from tests.e2e.server import ServerProcess
from tests.phone import parsers
from tests.phone.parsers import parse

WISH = {"name": "one", "template_id": "ubuntu"}


async def test_the_account_is_shown_under_every_name_that_it_has(person: Person):
    for path in ("/auth/me", "/auth/profile", "/users/me", "/users/me/"):
        user = parse(parsers.USER, (await person.get(path)).json())
        assert (user["id"], user["username"], user["email"]) == (person.id, person.username, person.email)
        assert user["role"] == "user"
        assert not {"password_hash", "google_id", "email_key"} & set(user)


async def test_what_is_sent_is_changed_and_nothing_else(person: Person):
    before = (await person.get("/users/me")).json()
    changes = {"full_name": "  Zoë 🐢  ", "avatar_url": "https://example.com/a.png", "preferred_region": "GRA7"}
    after = parse(parsers.USER, (await person.put("/users/me", changes)).json())
    assert after["full_name"] == "Zoë 🐢"
    assert {name for name in after if after[name] != before[name]} == {*changes, "updated_at"}
    ignored: dict[str, Any] = {
        "role": "admin",
        "subscription_plan": "pro",
        "is_verified": True,
        "email": "other@example.org",
        "id": "0" * 24,
        "password_hash": "x",
        "google_id": "g",
        "version": 99,
        "username_key": "other",
    }
    unchanged = (await person.put("/users/me", ignored)).json()
    assert {name: unchanged[name] for name in unchanged if name != "updated_at"} == {
        name: after[name] for name in after if name != "updated_at"
    }
    cleared = (await person.put("/users/me", {"avatar_url": None, "preferred_region": None})).json()
    assert (cleared["avatar_url"], cleared["preferred_region"], cleared["full_name"]) == (None, None, "Zoë 🐢")


async def test_a_username_is_unique_whatever_its_case(people: SignUp):
    person, other = await people(), await people()
    taken = await person.put("/users/me", {"username": other.username.upper()})
    assert taken.status_code == 409
    own = await person.put("/users/me", {"username": f" {person.username.upper()} "})
    assert own.json()["username"] == person.username.upper()
    assert (await person.put("/users/me", {"username": "ab"})).status_code == 422
    renamed = await person.put("/users/me", {"username": f"new-{person.username}"})
    assert renamed.status_code == 200
    assert (await person.at(person.web).try_sign_in(name=f"NEW-{person.username}")).status_code == 200
    stranger = Person(person.web, person.username)
    stranger.email = "stranger@example.org"
    await stranger.sign_up()


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "data:text/html,x", "ftp://x/y", "//x/y", "https://x/\n", "https://x/'><script>", "x"],
)
async def test_an_avatar_is_a_web_address(person: Person, url: str):
    assert (await person.put("/users/me", {"avatar_url": url})).status_code == 422


@pytest.mark.parametrize(
    ("username", "email", "code"),
    [
        ("SAME", "new@example.org", "username_key_taken"),
        ("new", "SAME@Example.ORG", "email_key_taken"),
        (" same ", " new@example.org ", "username_key_taken"),
    ],
)
async def test_names_that_differ_by_case_or_spaces_are_the_same(
    people: SignUp, web: Web, username: str, email: str, code: str
):
    first = await people()
    asked = {
        "username": username.replace("SAME", first.username.upper()).replace("same", first.username),
        "email": email.replace("SAME@Example.ORG", first.email.upper()),
        "password": first.password,
    }
    answer = await web.post("/auth/register", asked)
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert "duplicate" not in answer.json()["detail"].lower()


async def test_ten_registrations_of_one_name_at_once_make_one_account(web: Web):
    twins = [Person(web, "twin") for _ in range(10)]
    bodies = [
        {"username": "Twin", "email": f"twin{i}@example.org", "password": p.password} for i, p in enumerate(twins)
    ]
    answers = await asyncio.gather(*(web.post("/auth/register", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


async def test_stats_count_environments_and_sessions(person: Person):
    created = await person.post("/environments/", WISH)
    await person.at(person.web).sign_in()
    stats = (await person.get("/users/me/stats")).json()
    assert stats["total_environments"] == 1
    assert sum(stats["environments_by_status"].values()) == 1
    assert stats["active_sessions"] == 2
    assert stats["environments_limit"] >= 1
    assert stats["environments_created_last_7_days"] == stats["environments_created_last_30_days"] == 1
    over = await person.post("/environments/", {**WISH, "name": "two"})
    assert over.status_code == 403
    assert await person.web.metric('devpocket_limits_refused_total{limit="environments"}') >= 1
    await person.delete(f"/environments/{created.json()['id']}")
    big = await person.post("/environments/", {**WISH, "resource_limits": {"memory": "512Gi"}})
    assert big.status_code == 403
    assert await person.web.metric('devpocket_limits_refused_total{limit="resources"}') >= 1


async def test_activity_is_the_own_newest_first_and_in_pages(people: SignUp):
    person, stranger = await people(), await people()
    for _ in range(4):
        await person.sign_in()
    lines = await person.activity()
    assert [line["action"] for line in lines] == ["signed_in"] * 4 + ["registered"]
    assert [line["timestamp"] for line in lines] == sorted((line["timestamp"] for line in lines), reverse=True)
    assert set(lines[0]) == {"action", "timestamp", "address", "device", "detail"}
    page = (await person.get(f"/users/me/activity?limit=2&before={lines[1]['timestamp']}")).json()
    assert page == lines[2:4]
    assert await stranger.actions() == ["registered"]
    for query in ("limit=0", "limit=201", "limit=x", "before=yesterday"):
        assert (await person.get(f"/users/me/activity?{query}")).status_code == 422


async def test_a_deleted_account_is_gone_at_once(people: SignUp, server: ServerProcess):
    person = await people()
    other = await person.at(person.web).sign_in()
    await mail_to(server.data_dir, person.email)
    created = await person.post("/environments/", WISH)
    environment_id = created.json()["id"]
    home = server.data_dir / "environments" / environment_id
    await until(home.exists, "the environment's folder")
    answer = await person.delete("/users/me")
    assert answer.status_code == 200
    assert answer.json()["message"]
    assert not await person.is_signed_in()
    assert not await other.is_signed_in()
    assert (await person.try_refresh()).status_code == 401
    assert (await person.at(person.web).try_sign_in()).status_code in (401, 403)
    await until(lambda: not home.exists(), "the removal of the environment")
    await until(lambda: not written_to(server.data_dir, person.email), "the removal of mails")
    again = await Person(person.web, person.username).sign_up()
    assert again.id != person.id
    assert (await again.get("/environments/")).json() == []
    assert await again.actions() == ["registered"]


async def test_name_and_address_are_free_when_the_deletion_is_answered(both: tuple[Web, Web]):
    for number in range(6):
        person = await Person(both[number % 2]).sign_up()
        assert (await person.delete("/users/me")).status_code == 200
        await Person(both[1 - number % 2], person.username).sign_up()


async def test_what_races_a_deletion_leaves_nothing(both: tuple[Web, Web], cluster: Cluster):
    gone = []
    for _ in range(3):
        person = await Person(both[0]).sign_up()
        asked = [person.at(both[number % 2]).try_sign_in() for number in range(8)]
        mailed = [web.post("/auth/forgot-password", {"email": person.email}) for web in both]
        await asyncio.gather(person.delete("/users/me"), *asked, *mailed)
        gone.append(person)
    ids, tables = [person.id for person in gone], ("sessions", "codes", "mails", "audit")

    def left() -> list[str]:
        found = [name for name in tables for _ in cluster.database[name].find({"user_id": {"$in": ids}})]
        return found + [person.email for person in gone if cluster.mails_to(person.email)]

    await until(lambda: not left(), "an end of all traces")


async def test_nothing_of_a_deleted_account_stays_in_the_database(both: tuple[Web, Web], cluster: Cluster):
    person = await Person(both[0], "vanishing").sign_up()
    await until(lambda: cluster.mails_to(person.email), "the verification mail")
    await person.at(both[1]).post("/auth/forgot-password", {"email": person.email})
    await until(lambda: cluster.mails_to(person.email, "password_reset"), "the reset mail")
    created = await person.post("/environments/", WISH)
    assert created.status_code == 201
    assert (await person.at(both[1]).delete("/users/me")).status_code == 200
    names = (person.id, person.email, "vanishing", created.json()["id"])

    def traces() -> list[str]:
        database = cluster.database
        return [
            f"{name}: {document}"
            for name in database.list_collection_names()
            for document in database[name].find()
            if any(each in str(document) for each in names) and document.get("members") != []
        ]

    await until(lambda: not traces(), "an end of all traces", patience_s=20)


async def test_an_unknown_verb_or_address_is_told_in_the_contracts_words(person: Person):
    assert (await person.call("PATCH", "/users/me", {})).status_code == 405
    assert (await person.delete("/auth/me")).status_code == 405
    assert (await person.get("/users")).status_code == 404
    assert (await person.get(f"/users/{person.id}")).status_code == 404
