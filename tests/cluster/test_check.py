"""``python -m devpocket check``: it names what is wrong with each part, mends nothing, and its exit code tells."""

import secrets
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from redis import Redis

from tests.e2e.server import ServerProcess
from tests.mongodb import with_database
from tests.redis_server import RedisServer, running_redis

PATIENCE_S = 20.0
Mongo = Database[dict[str, Any]]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def database(mongodb_url: str) -> Iterator[Mongo]:
    """An empty database of the test's own."""
    name = f"check_{secrets.token_hex(6)}"
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    """A server with SQLite, not started."""
    server = ServerProcess(LOCAL_NETWORK="none")
    yield server
    server.close()


@pytest.fixture
def shared(mongodb_url: str, database: Mongo, redis: RedisServer) -> Iterator[ServerProcess]:
    """A server with MongoDB and Redis, not started."""
    url = with_database(mongodb_url, database.name)
    server = ServerProcess(LOCAL_NETWORK="none", DATABASE_URL=url, REDIS_URL=str(redis.url))
    yield server
    server.close()


def check(server: ServerProcess, **variables: str) -> tuple[int, dict[str, list[str]]]:
    """Return the exit code and what was said, by part."""
    ended = server.run("check", patience_s=PATIENCE_S, **variables)
    assert "Traceback" not in ended.stderr
    said: dict[str, list[str]] = {}
    for line in ended.stdout.splitlines():
        part, _, told = line.partition(": ")
        said.setdefault(part, []).append(told)
    assert list(said) == ["store", "bus", "runtime", "mail"], ended.stdout + ended.stderr
    return ended.returncode, said


def indexes(database: Mongo) -> dict[str, Any]:
    """Return every index as the server describes it."""
    return {name: database[name].index_information() for name in sorted(database.list_collection_names())}


def test_mongodb_and_redis_say_their_versions(shared: ServerProcess, database: Mongo) -> None:
    code, said = check(shared)
    assert code == 0
    assert "is empty" in said["store"][1]
    assert database.list_collection_names() == [], "looking makes nothing"

    assert shared.run("load-templates").returncode == 0
    code, said = check(shared)
    assert code == 0
    assert said["store"][0].startswith("mongodb ")
    assert said["store"][0].split()[1][0].isdigit()
    assert said["store"][0].endswith(" ms")
    assert len(said["store"]) == 1
    assert said["bus"][0].split()[:1] == ["redis"]
    assert said["runtime"][0].startswith("local ")
    assert "no mail server is set" in said["mail"][0]


def test_each_wrong_index_of_mongodb_is_named_and_none_is_mended(shared: ServerProcess, database: Mongo) -> None:
    assert shared.run("load-templates").returncode == 0
    database.users.drop_index("email_key")
    database.users.create_index([("nickname", 1)], name="nickname")
    database.sessions.drop_index("expires_at")
    database.sessions.create_index([("expires_at", 1)], name="expires_at", expireAfterSeconds=3600)
    database.audit.drop_index("at")
    database.audit.create_index([("user_id", 1), ("_id", 1)], name="at")
    before = indexes(database)

    code, said = check(shared)

    assert code == 1
    assert set(said["store"][1:]) == {
        "users.email_key is missing",
        "users.nickname is not in the table",
        "sessions.expires_at: expire_after_s is 3600 and should be 0",
        "audit.at: keys is (('user_id', 1), ('_id', 1)) and should be (('at', 1), ('_id', 1))",
    }
    assert indexes(database) == before


def test_drift_is_told_beside_a_running_server(shared: ServerProcess, database: Mongo) -> None:
    shared.start()
    assert check(shared)[0] == 0
    database.environments.drop_index("user_name")
    code, said = check(shared)
    assert (code, said["store"][1:]) == (1, ["environments.user_name is missing"])
    assert shared.stop() == 0


def test_a_mongodb_that_is_not_there(shared: ServerProcess) -> None:
    code, said = check(shared, DATABASE_URL=f"mongodb://127.0.0.1:{closed_port()}/nothing")
    assert code == 1
    assert said["store"][0].startswith("The database does not answer just now. MongoDB at 127.0.0.1:")
    assert said["bus"][0].startswith("redis "), "the others are looked at all the same"


def test_a_redis_that_is_not_there_or_answers_nothing(shared: ServerProcess, redis: RedisServer) -> None:
    code, said = check(shared, REDIS_URL=f"redis://127.0.0.1:{closed_port()}/0")
    assert code == 1
    assert said["bus"][0].startswith("Redis does not answer.")
    with redis.paused():
        code, said = check(shared)
    assert code == 1
    assert said["bus"][0].startswith("Redis does not answer.")
    assert check(shared)[0] == 0


def test_a_password_that_redis_refuses(shared: ServerProcess, redis: RedisServer) -> None:
    code, said = check(shared, REDIS_URL=f"redis://somebody:a-wrong-secret@127.0.0.1:{redis.port}/0")
    assert code == 1
    assert "AuthenticationError" in said["bus"][0]
    assert "a-wrong-secret" not in str(said)


def test_a_redis_that_lets_no_script_run(shared: ServerProcess, redis: RedisServer) -> None:
    with Redis(port=redis.port) as client:
        client.acl_setuser(
            "reader", enabled=True, nopass=True, keys=["*"], channels=["*"], categories=["+@all", "-@scripting"]
        )
    code, said = check(shared, REDIS_URL=f"redis://reader:any@127.0.0.1:{redis.port}/0")
    assert code == 1
    assert said["bus"][0].startswith("redis ")
    assert "no script may write" in said["bus"][1]


def test_a_password_that_mongodb_refuses(shared: ServerProcess) -> None:
    url = shared.variables["DATABASE_URL"].replace("mongodb://", "mongodb://somebody:a-wrong-secret@")
    code, said = check(shared, DATABASE_URL=f"{url}?authSource=admin")
    assert code == 1
    assert said["store"][0].startswith("The database refuses. MongoDB at 127.0.0.1")
    assert "a-wrong-secret" not in str(said)


def test_sqlite_before_during_and_after_a_server(server: ServerProcess) -> None:
    file = server.data_dir / "devpocket.db"
    code, said = check(server)
    assert code == 0
    assert "is not there yet" in said["store"][1]
    assert not file.exists()
    assert said["bus"][0].startswith("memory")

    server.start()
    code, said = check(server)
    assert code == 0
    assert "is in use" in said["store"][1]
    assert server.stop() == 0

    code, said = check(server)
    assert (code, len(said["store"])) == (0, 1)
    assert sorted(path.name for path in server.data_dir.glob("devpocket.db*")) == ["devpocket.db"]


def test_each_wrong_index_of_sqlite_is_named_and_none_is_mended(server: ServerProcess) -> None:
    assert server.run("load-templates").returncode == 0
    file = server.data_dir / "devpocket.db"
    _execute(
        file,
        'DROP INDEX "users.email_key"',
        'CREATE INDEX "users.nickname" ON "users" ("google_id")',
        'DROP INDEX "sessions.expires_at"',
        'CREATE INDEX "sessions.expires_at" ON "sessions" ("created_at")',
    )
    before = file.read_bytes()
    code, said = check(server)
    assert code == 1
    missing, other, unknown = said["store"][1:]
    assert missing == "users.email_key is missing"
    assert other.startswith("sessions.expires_at is 'CREATE INDEX")
    assert unknown == "users.nickname is not in the table"
    assert file.read_bytes() == before


def test_a_file_that_is_no_database(server: ServerProcess) -> None:
    (server.data_dir / "devpocket.db").write_bytes(b"a letter to somebody\n" * 500)
    code, said = check(server)
    assert code == 1
    assert "is not an SQLite database" in said["store"][0]


def test_a_mail_server_that_is_not_there(server: ServerProcess) -> None:
    code, said = check(server, MAIL_URL=f"smtp://127.0.0.1:{closed_port()}")
    assert code == 1
    assert "Connect" in said["mail"][0]


def test_a_setting_that_means_nothing_is_one_line_and_exit_code_2(server: ServerProcess) -> None:
    ended: subprocess.CompletedProcess[str] = server.run("check", DATABASE_URL="postgres://somewhere")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _execute(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
