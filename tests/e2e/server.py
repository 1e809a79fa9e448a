"""A server process as an operator runs it, to be started, stopped, killed and started again on the same data."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from devpocket.runtime.local.record import read_record

ROOT = Path(__file__).parents[2]
START_PATIENCE_S = 30.0
_LISTENS = re.compile(r"listens on (http://\S+:(\d+))")


def wait_until(condition: Callable[[], object], what: str, patience_s: float = 20.0) -> None:
    """Return once ``condition`` holds; fails when it does not within ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {patience_s:g} s"
        time.sleep(0.02)


class ServerProcess:
    """``python -m devpocket serve`` with its own ``DATA_DIR``. Keeps its port over restarts, as an operator's does."""

    def __init__(self, **variables: str) -> None:
        # Not below pytest's own folder, which only root may pass: environments do not run as root.
        self.data_dir = Path(tempfile.mkdtemp(prefix="devpocket-e2e-"))
        self.data_dir.chmod(0o711)
        self.output = self.data_dir / "server.log"
        self.variables = variables
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """What the process is given: nothing of the tests' own settings."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, "DATA_DIR": str(self.data_dir), "PORT": str(self.port), **self.variables}

    def run(
        self, *arguments: str, patience_s: float = START_PATIENCE_S, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the product to its end, with more ``variables``."""
        return subprocess.run(
            [sys.executable, "-m", "devpocket", *arguments],
            cwd=ROOT,
            env={**self.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        )

    def start(self) -> None:
        """Start and return once it says where it listens."""
        with self.output.open("ab") as output:
            told_before = output.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "devpocket", "serve"],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: self._listening(told_before), "the server's start", START_PATIENCE_S)

    def _listening(self, told_before: int) -> bool:
        assert self.process
        said = self.output.read_bytes()[told_before:].decode(errors="replace")
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{said}"
        found = _LISTENS.search(said)
        if found:
            self.port = int(found.group(2))
        return found is not None

    def kill(self) -> None:
        """Kill it with signal 9, in the middle of whatever it does."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it in an orderly way; return the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_PATIENCE_S)

    @property
    def memory_bytes(self) -> int:
        """The resident memory of the process."""
        assert self.process
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def log_tail(self) -> str:
        return self.output.read_text(errors="replace")[-4000:] if self.output.exists() else ""

    def close(self) -> None:
        """End the process, whatever is left of its environments, and its folder."""
        if self.process and self.process.poll() is None:
            self.kill()
        end_environments(self.data_dir)
        shutil.rmtree(self.data_dir, ignore_errors=True)


def end_environments(data_dir: Path) -> None:
    """Kill what runs in and around the sandboxes below ``data_dir``, which need no server to go on."""
    for path in data_dir.rglob("environments/*/record.json"):
        record = read_record(path)
        if record is None or record.sandbox is None:
            continue
        for process in (record.sandbox.init, record.sandbox.passt):
            if process is not None and process.is_alive:
                with_signal(process.pid)
    for pid in processes_naming(str(data_dir)):
        with_signal(pid)


def with_signal(pid: int) -> None:
    """Kill one process, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def processes_naming(text: str) -> list[int]:
    """Return the processes, this one excepted, whose command line or environment holds ``text``."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            told = (folder / "cmdline").read_bytes() + b"\0" + (folder / "environ").read_bytes()
        except OSError:
            continue  # it has just ended, or belongs to somebody else
        if text.encode() in told:
            found.append(int(folder.name))
    return found


def files_naming(text: str, *folders: Path) -> list[Path]:
    """Return files, sockets and folders whose name holds ``text``."""
    return [
        Path(parent) / name
        for folder in folders
        for parent, below, files in os.walk(folder)  # passes by what is removed meanwhile
        for name in (*below, *files)
        if text in name
    ]
