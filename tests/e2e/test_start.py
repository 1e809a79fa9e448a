"""Starts that must not succeed, and what they say."""

import signal
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.server import ServerProcess, wait_until


@pytest.fixture
def stopped() -> Iterator[ServerProcess]:
    process = ServerProcess()
    yield process
    process.close()


def one_sentence(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def test_all_wrong_settings_are_named_at_once_and_secrets_are_not_shown(stopped: ServerProcess):
    stopped.variables = {
        "PORT": "abc",
        "DATABASE_URL": "postgres://me:hunter2@db/x",
        "SECRET_KEY": "hunter2",
        "LOG_LEVEL": "LOUD",
        "RUNTIME": "podman",
    }
    ended = stopped.run("serve")
    assert ended.returncode == 2
    for name in stopped.variables:
        assert name in ended.stderr
    assert "hunter2" not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (stopped.data_dir / "devpocket.db").exists()


def test_a_taken_port_is_one_line_and_exit_2(stopped: ServerProcess):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stopped.port = taken.getsockname()[1]
        ended = stopped.run("serve")
    assert ended.returncode == 2
    assert str(stopped.port) in one_sentence(ended.stderr)


def test_a_second_process_on_the_same_data_is_sent_to_mongodb(stopped: ServerProcess):
    stopped.start()
    second = ServerProcess(DATA_DIR=str(stopped.data_dir))
    try:
        ended = second.run("serve")
        assert ended.returncode == 2
        assert "MongoDB" in one_sentence(ended.stderr)
        ended = second.run("load-templates", "--dry-run")
        assert ended.returncode == 2
    finally:
        second.close()
    assert stopped.stop() == 0


def test_a_port_for_metrics_that_is_taken_is_one_line_and_exit_2_before_anything_starts(stopped: ServerProcess):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stopped.variables = {"METRICS_PORT": str(taken.getsockname()[1])}
        ended = stopped.run("serve")
    assert ended.returncode == 2
    assert "METRICS_PORT: cannot listen on 127.0.0.1:" in one_sentence(ended.stderr)
    assert not (stopped.data_dir / "devpocket.db").exists()


def test_a_data_folder_that_cannot_be_written_is_one_line_and_exit_2(stopped: ServerProcess):
    (stopped.data_dir / "file").write_text("no folder")
    stopped.variables = {"DATA_DIR": str(stopped.data_dir / "file" / "data")}
    ended = stopped.run("serve")
    assert ended.returncode == 2
    assert "DATA_DIR" in one_sentence(ended.stderr) or "file" in one_sentence(ended.stderr)


def test_a_damaged_database_is_one_line_and_is_not_touched(stopped: ServerProcess):
    database = stopped.data_dir / "devpocket.db"
    database.write_bytes(b"this is no database" * 1000)
    ended = stopped.run("serve")
    assert ended.returncode == 2
    assert "devpocket.db" in one_sentence(ended.stderr)
    assert database.read_bytes() == b"this is no database" * 1000


def test_the_first_start_loads_the_templates_and_the_second_keeps_them(stopped: ServerProcess):
    stopped.start()
    assert stopped.stop() == 0
    said = stopped.run("load-templates", "--dry-run", "--prune")
    assert said.returncode == 0
    assert "10 unchanged" in said.stdout
    assert "created" not in said.stdout


def test_who_is_busy_with_what_is_told_on_sigusr1(stopped: ServerProcess):
    stopped.start()
    assert stopped.process
    stopped.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "busy actors" in stopped.log_tail(), "the report")
    assert stopped.stop() == 0


def test_wrong_template_files_are_told_with_file_and_line(stopped: ServerProcess):
    folder = stopped.data_dir / "own"
    folder.mkdir()
    (folder / "one.yaml").write_text("name: One\n")
    (folder / "two.yaml").write_text("a: b: c\n")
    ended = stopped.run("load-templates", str(folder))
    assert ended.returncode == 2
    assert "one.yaml:1: name: must be of a-z" in ended.stderr
    assert "two.yaml:1: is not YAML" in ended.stderr
