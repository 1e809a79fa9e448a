"""The start-up scripts: files inside, run once by a runner that outlives the server, output kept outside.

A recorder, out here, writes down what the runner says, and holds a lock (flock(2)) on the status file until the runner
has ended: it inherits it, and nobody else gets it. So whoever asks, in whatever process, after whatever crash, sees
whether it still runs.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from devpocket.runtime.local.layout import EnvironmentPaths
from devpocket.runtime.port import InstallationProgress, InstallationState

LOG_BYTES = 4 * 1024 * 1024
"""What is kept of the output: its beginning."""
READ_BYTES = 64 * 1024
KEPT_ATTEMPTS = 5
STARTUP = "startup"
_ENDED = "ended\n"


@dataclass(frozen=True, slots=True)
class InstallationFiles:
    """The files of one attempt."""

    commands: Path
    log: Path
    status: Path

    @classmethod
    def of(cls, paths: EnvironmentPaths, attempt: int) -> "InstallationFiles":
        """Return where they are, or would be."""
        name = f"installation-{attempt}"
        return cls(paths.etc / STARTUP / str(attempt), paths.logs / f"{name}.log", paths.logs / f"{name}.status")


@contextlib.contextmanager
def claim(files: InstallationFiles) -> Iterator[tuple[int, int] | None]:
    """Hold log and status open for a recorder to inherit; None when that attempt runs or has run to its end.

    What an interrupted run of the attempt left is emptied.
    """
    with contextlib.ExitStack() as stack:
        status = _open(files.status, stack)
        if not _lock(status) or _is_over(_read(status)):
            yield None
            return
        log = _open(files.log, stack)
        for descriptor in (status, log):
            os.ftruncate(descriptor, 0)
        yield log, status


def write_commands(paths: EnvironmentPaths, attempt: int, commands: tuple[str, ...]) -> None:
    """Lay out the commands of an attempt, one file each, and forget all but the latest attempts."""
    folder = InstallationFiles.of(paths, attempt).commands
    shutil.rmtree(folder, ignore_errors=True)
    for path in (folder.parent, folder):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    for number, command in enumerate(commands, start=1):
        path = folder / f"{number:03}"
        path.write_text(command + "\n", errors="surrogateescape")
        path.chmod(0o644)
    for old in sorted(int(path.name) for path in folder.parent.iterdir())[:-KEPT_ATTEMPTS]:
        shutil.rmtree(folder.parent / str(old))
        files = InstallationFiles.of(paths, old)
        files.log.unlink(missing_ok=True)
        files.status.unlink(missing_ok=True)


def read_progress(files: InstallationFiles, offset: int) -> InstallationProgress:
    """Return how far an attempt is, and its output from ``offset`` bytes on. Blocks: call it off the loop."""
    try:
        status = os.open(files.status, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return InstallationProgress(InstallationState.ABSENT, offset=offset)
    try:
        # In this order: a runner that ends in between has written down everything before it let go.
        runs = not _lock(status)
        text = _read(status)
    finally:
        os.close(status)
    progress = _parse(text, files, runs=runs)
    output, offset = _read_output(files.log, offset, at_end=progress.state is not InstallationState.RUNNING)
    return replace(progress, text=output, offset=offset)


def mark_ended(files: InstallationFiles) -> int | None:
    """Write down that an attempt is ended from outside; return its runner's pid, inside, when it runs."""
    try:
        status = os.open(files.status, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _lock(status):
            return None
        os.write(status, _ENDED.encode())
        runners = [line.split()[1] for line in _read(status).splitlines() if line.startswith("runner ")]
        return int(runners[0]) if runners else None
    finally:
        os.close(status)


def runs(paths: EnvironmentPaths) -> bool:
    """Tell whether the last attempt runs. Blocks briefly."""
    attempt = latest_attempt(paths)
    progress = read_progress(InstallationFiles.of(paths, attempt), 0) if attempt is not None else None
    return progress is not None and progress.state is InstallationState.RUNNING


def latest_attempt(paths: EnvironmentPaths) -> int | None:
    """Return the number of the last attempt that was begun."""
    numbers = [path.stem.rpartition("-")[2] for path in paths.logs.glob("installation-*.status")]
    return max((int(number) for number in numbers if number.isdecimal()), default=None)


def _parse(text: str, files: InstallationFiles, *, runs: bool) -> InstallationProgress:
    steps = len(list(files.commands.glob("[0-9]*"))) if files.commands.is_dir() else 0
    codes = [line.split()[1:] for line in text.splitlines() if line.startswith("step ")]
    finished = [name for name, code in codes if code == "0"]
    failed = next(((name, int(code)) for name, code in codes if code != "0"), None)
    ended = _ENDED in text
    if ended and failed is None and not runs:
        failed = (f"{len(finished) + 1:03}", -1)
    if runs:
        state = InstallationState.RUNNING
    elif failed is not None:
        state = InstallationState.FAILED
    else:
        state = InstallationState.SUCCEEDED if _is_over(text) else InstallationState.ABSENT
    if failed is None or state is not InstallationState.FAILED:
        return InstallationProgress(state, step=len(finished), steps=steps)
    command = files.commands / failed[0]
    return InstallationProgress(
        state,
        step=len(finished),
        steps=steps,
        failed_command=command.read_text(errors="replace").strip() if command.is_file() else "",
        exit_code=None if failed[1] < 0 else failed[1],
    )


def _is_over(status: str) -> bool:
    """Tell whether an attempt went through to an end of its own, or was ended on purpose."""
    return "\ndone " in f"\n{status}" or _ENDED in status


def _read_output(log: Path, offset: int, *, at_end: bool) -> tuple[str, int]:
    """Return text from ``offset`` on and where the next read continues; a character is never split."""
    try:
        with log.open("rb") as file:
            file.seek(max(offset, 0))
            data = file.read(READ_BYTES)
    except FileNotFoundError:
        return "", offset
    is_last = at_end and len(data) < READ_BYTES
    if not is_last:
        data = data[: len(data) - _unfinished(data)]
    return data.decode(errors="replace"), max(offset, 0) + len(data)


def _unfinished(data: bytes) -> int:
    """Return the length of the character that has begun at the end and is not complete (RFC 3629), 0 to 3."""
    for length in range(1, min(4, len(data) + 1)):
        byte = data[-length]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return length if needed > length else 0
    return 0


def _open(path: Path, stack: contextlib.ExitStack) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, descriptor)
    return descriptor


def _lock(descriptor: int) -> bool:
    """Take the lock; False when a recorder holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> str:
    return os.pread(descriptor, READ_BYTES, 0).decode(errors="replace")
