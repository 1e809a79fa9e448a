"""A MongoDB for tests, found in this order: ``MONGODB_TEST_URL``, what ``MONGODB_TEST_COMMAND`` starts, ``mongod``.

The command prints the URL and runs until its standard input closes; an argument names a directory that keeps the data.
With ``CI=true`` a missing server fails the run, elsewhere its tests are skipped by name.
"""

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from pymongo import MongoClient

_START_TIMEOUT_S = 60.0
_MISSING = "no MongoDB: set MONGODB_TEST_URL or MONGODB_TEST_COMMAND, or install mongod"


class MongoServer:
    """A server of our own, with its data in ``directory``."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    @classmethod
    def start(cls, directory: Path) -> "MongoServer":
        """Start one and wait until it answers."""
        if command := os.environ.get("MONGODB_TEST_COMMAND"):
            process = _spawn([*shlex.split(command), str(directory)])
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("mongodb://"), f"{command} printed {url!r} instead of a URL"
            return cls(process, url)
        port = _free_port()
        directory.mkdir(exist_ok=True)
        process = _spawn(["mongod", "--dbpath", str(directory), "--port", str(port), "--bind_ip", "127.0.0.1"])
        url = f"mongodb://127.0.0.1:{port}/"
        with MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=int(_START_TIMEOUT_S * 1000)) as client:
            client.admin.command("ping")
        return cls(process, url)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def kill(self) -> None:
        """End it as a power cut would, and everything it started."""
        self._process.kill()
        self._reap()
        deadline = time.monotonic() + 10
        while _listens(self.port):
            assert time.monotonic() < deadline, "the killed server still listens"

    def stop(self) -> None:
        """End it in good order; harmless when it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
        self._reap()

    def _reap(self) -> None:
        self._process.wait(timeout=30)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def with_database(url: str, name: str) -> str:
    """Return ``url`` naming another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def mongodb_url() -> Iterator[str]:
    """The URL of a server that lives as long as the test run. Use a database of your own."""
    if url := os.environ.get("MONGODB_TEST_URL"):
        yield url
        return
    _require_own_server()
    with tempfile.TemporaryDirectory(prefix="mongodb-") as folder:
        server = MongoServer.start(Path(folder) / "data")
        yield server.url
        server.stop()


@pytest.fixture
def mongodb_directory(tmp_path: Path) -> Path:
    """A directory for a server that the test starts, kills and starts again itself."""
    _require_own_server()
    return tmp_path / "mongodb"


@pytest.fixture(scope="session")
def own_mongodb() -> None:
    """Skips the test where no server can be started that is its own to kill."""
    _require_own_server()


def _require_own_server() -> None:
    if os.environ.get("MONGODB_TEST_COMMAND") or shutil.which("mongod"):
        return
    if os.environ.get("MONGODB_TEST_URL"):
        pytest.skip("MONGODB_TEST_URL names a server that is not ours to kill")
    if os.environ.get("CI") == "true":
        pytest.fail(_MISSING)
    pytest.skip(_MISSING)


def _spawn(command: list[str]) -> subprocess.Popen[str]:
    # What mongod prints goes nowhere: a pipe that nobody reads would stop it.
    wanted = subprocess.DEVNULL if command[0] == "mongod" else subprocess.PIPE
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=wanted, text=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
