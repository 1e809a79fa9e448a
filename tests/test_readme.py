"""The tour of README.md, word by word, by somebody who sits at a terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess
from tests.test_docs import ROOT, SHELL_BLOCK

PATIENCE_S = 30.0
DETACH = b"\x1d"


class Person:
    """Somebody at a terminal in which a script runs."""

    def __init__(self, script: str, variables: dict[str, str]) -> None:
        self.shown = ""
        self._terminal, far_end = pty.openpty()
        self._shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdin=far_end,
            stdout=far_end,
            stderr=far_end,
            start_new_session=True,
        )
        os.close(far_end)

    def see(self, what: str) -> None:
        """Wait until the screen has shown it, each thing after the one before."""
        deadline = time.monotonic() + PATIENCE_S
        while what not in self.shown:
            assert time.monotonic() < deadline, f"{what!r} was not shown:\n{self.shown}"
            assert self._read(), f"the script ended before {what!r}:\n{self.shown}"
        self.shown = self.shown.partition(what)[2]

    def _read(self) -> bool:
        if not select.select([self._terminal], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # EIO: the last process of the terminal has ended (pty(7))
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def type(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def exit_code(self) -> int:
        """Read to the end, and return how the script has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < deadline, f"the script does not end:\n{self.shown}"
        return self._shell.wait(PATIENCE_S)

    def close(self) -> None:
        """End the script where a test has left it."""
        if self._shell.poll() is None:
            os.killpg(self._shell.pid, signal.SIGKILL)
            self._shell.wait()
        os.close(self._terminal)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    process = ServerProcess()
    try:
        process.start()
        yield process
    finally:
        process.close()


def tour(url: str) -> str:
    """Return the commands of the tour, for a server elsewhere."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## A two-minute tour$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert found
    blocks = [block for block in SHELL_BLOCK.findall(found[1]) if "-m devpocket" not in block]
    script = "".join(blocks)
    assert "http://127.0.0.1:8000" in script
    assert ".venv/bin/python" in script
    return script.replace("http://127.0.0.1:8000", url).replace(".venv/bin/python", sys.executable)


def test_the_tour_works_word_by_word(server):
    person = Person(tour(server.url), {"DEVPOCKET_URL": server.url, "TERM": "xterm-256color"})
    try:
        person.see("ubuntu - ")
        person.see('"status":"running"')
        person.see("~/workspace")
        person.type(b"echo from-the-$((40 + 2))\r")
        person.see("from-the-42")
        person.type(DETACH)
        person.see("Left.")
        person.see('"memory_usage":')
        person.see('"logs":["')
        assert person.exit_code() == 0
    finally:
        person.close()
    homes = Path(server.data_dir, "environments")
    deadline = time.monotonic() + PATIENCE_S
    while list(homes.iterdir()):
        assert time.monotonic() < deadline, "the environment is still there"
        time.sleep(0.02)
