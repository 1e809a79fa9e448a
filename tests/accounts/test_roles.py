"""Rights come from the role: made by an operator, never by a plan."""

from typing import Any

from devpocket.auth.permissions import PERMISSIONS, Permission
from devpocket.domain.users import Role
from tests.accounts.conftest import Cluster, create_admin, running
from tests.accounts.people import Person, Web
from tests.e2e.server import ServerProcess

TEMPLATE = {
    "name": "tiny",
    "display_name": "Tiny",
    "description": "Small",
    "category": "devops",
    "docker_image": "debian:12",
    "default_resources": {"cpu": "500m", "memory": "512Mi", "storage": "1Gi"},
}


def test_only_administrators_have_administrators_rights():
    rights = {right for right in Permission if right.startswith("admin:")}
    assert rights
    assert not rights & PERMISSIONS[Role.USER]
    assert PERMISSIONS[Role.ADMIN] == frozenset(Permission)


ADMINISTRATORS: list[tuple[str, str, Any]] = [
    ("POST", "/templates/", TEMPLATE),
    ("PUT", "/templates/ubuntu", {"description": "x"}),
    ("DELETE", "/templates/ubuntu", None),
    ("POST", "/templates/initialize", None),
]


async def test_users_may_not_do_what_administrators_may_whatever_their_plan(both: tuple[Web, Web], cluster: Cluster):
    person = await Person(both[0]).sign_up()
    for plan in ("free", "starter", "pro", "enterprise", "admin"):
        cluster.database.users.update_one({"_id": person.id}, {"$set": {"subscription_plan": plan}})
        for method, path, body in ADMINISTRATORS:
            answer = await person.at(both[1]).call(method, path, body)
            assert answer.status_code == 403, (plan, method, path)
    lines = [line for line in await person.activity() if line["action"] == "refused"]
    assert len(lines) == 5 * len(ADMINISTRATORS)
    assert lines[0]["detail"] == {"permission": "admin:templates"}


async def test_an_administrator_is_made_from_the_command_line_and_written_down(cluster: Cluster, both: tuple[Web, Web]):
    process = cluster.processes[0]
    chief = Person(both[0], "chief")
    made = create_admin(process, chief.username, chief.email)
    assert made.returncode == 0, made.stderr
    assert "chief" in made.stdout
    assert chief.password not in made.stdout + made.stderr
    await chief.sign_in()
    assert (await chief.get("/auth/me")).json()["role"] == "admin"
    created = await chief.post("/templates/", TEMPLATE)
    assert created.status_code == 201, created.text
    assert (await chief.put("/templates/tiny", {"description": "Smaller"})).status_code == 200
    assert (await chief.delete("/templates/tiny")).status_code == 200
    assert (await chief.post("/templates/initialize")).status_code == 200
    assert (await chief.actions())[:4] == [
        "templates_initialized",
        "template_changed",
        "template_changed",
        "template_created",
    ]
    assert "made_administrator" in await chief.actions()


async def test_an_account_is_promoted_by_its_name_and_address_alone(cluster: Cluster, both: tuple[Web, Web]):
    process, person = cluster.processes[0], await Person(both[0]).sign_up()
    stranger = Person(both[0], "somebody_else")
    stranger.email = person.email
    refused = create_admin(process, stranger.username, stranger.email)
    assert refused.returncode == 2
    assert person.username in refused.stderr
    assert (await person.get("/auth/me")).json()["role"] == "user"
    assert create_admin(process, person.username, person.email, "Ignored99").returncode == 0
    assert (await person.at(both[1]).get("/auth/me")).json()["role"] == "admin"
    assert (await person.try_sign_in()).status_code == 200, "the password stays as it was"


async def test_a_weak_password_or_a_wrong_name_makes_no_administrator(cluster: Cluster, both: tuple[Web, Web]):
    process = cluster.processes[0]
    for changes in ({"password": "Password1"}, {"email": "nowhere"}):
        person = Person(both[0], "wrong_chief")
        for name, value in changes.items():
            setattr(person, name, value)
        made = create_admin(process, person.username, person.email, person.password)
        assert made.returncode == 2, changes
        assert made.stderr.startswith("devpocket: "), made.stderr
        assert "Traceback" not in made.stderr
    assert cluster.database.users.count_documents({"username_key": "wrong_chief"}) == 0


def test_beside_a_running_server_over_sqlite_it_says_why_it_cannot(server: ServerProcess):
    person = Person(Web(server.url), "second_chief")
    made = create_admin(server, person.username, person.email)
    assert made.returncode == 2
    assert "Traceback" not in made.stderr
    assert len(made.stderr.strip().splitlines()) == 1, made.stderr


async def test_over_sqlite_an_administrator_is_made_while_the_server_is_stopped():
    with running() as process:
        process.stop()
        async with Web(process.url) as web:
            chief = Person(web, "chief")
            assert create_admin(process, chief.username, chief.email).returncode == 0
            process.start()
        async with Web(process.url) as web:
            chief = await chief.at(web).sign_in()
            assert (await chief.get("/auth/me")).json()["role"] == "admin"
