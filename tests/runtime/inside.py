"""A home with a real tmux of its own, and a phone to look at it with."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pyte

from devpocket.domain.terminals import TerminalSize
from devpocket.ids import EnvironmentId, new_id
from devpocket.runtime import tmux
from devpocket.runtime.pty_terminal import PtyTerminal

PATIENCE_S = 10.0
PHONE_SIZE = TerminalSize()


def open_descriptors() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def process_exists(process_id: int) -> bool:
    """Tell whether there is such a process, if only a zombie."""
    return Path(f"/proc/{process_id}").exists()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when ``condition`` holds; TimeoutError after 10 s."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


class Phone:
    """A terminal emulator with scrollback at the other end of a terminal."""

    def __init__(self, terminal: PtyTerminal, size: TerminalSize) -> None:
        self.terminal = terminal
        self._screen = pyte.HistoryScreen(size.columns, size.rows, history=10_000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def scrollback(self) -> list[str]:
        """The lines above the screen."""
        columns = range(self._screen.columns)
        return ["".join(line[column].data for column in columns).rstrip() for line in self._screen.history.top]

    @property
    def screen(self) -> list[str]:
        """The lines of the screen, without the empty ones at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n").split("\n")

    @property
    def everything(self) -> list[str]:
        """Scrollback and screen."""
        return self.scrollback + self.screen

    async def see(self, condition: Callable[["Phone"], bool]) -> None:
        """Read until ``condition`` holds of this phone."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(self):
                data = await self.terminal.read()
                assert data, f"the terminal ended; on its screen: {self.screen}"
                self._stream.feed(data)

    async def resize(self, size: TerminalSize) -> None:
        """Turn the phone."""
        self._screen.resize(size.rows, size.columns)
        await self.terminal.resize(size)

    async def type(self, text: str) -> None:
        """Type ``text``."""
        await self.terminal.write(text.encode())


class Inside:
    """What an environment is to tmux: a home, the files, variables."""

    def __init__(self, folder: Path) -> None:
        self.home, self._files = folder / "home", folder / "files"
        self.home.mkdir()
        self._files.mkdir()
        (self.home / ".hushlogin").touch()
        (self.home / ".profile").write_text("PS1='$ '\n")
        for name, content in tmux.files().items():
            (self._files / name).write_bytes(content)
        self.session = tmux.TmuxSession(EnvironmentId(new_id()), str(self.home), str(self._files))
        self.variables = {"PATH": os.environ["PATH"], "HOME": str(self.home), "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
        # A shell that is hung up writes its history, perhaps while the home is being removed.
        self.variables["HISTFILE"] = "/dev/null"

    @property
    def state(self) -> Path:
        """Where socket and saved state are."""
        return self.home / ".tmux"

    @property
    def target(self) -> str:
        """The session, for tmux's -t."""
        return f"={self.session.name}:"

    async def run(self, argv: Sequence[str]) -> tuple[int, str]:
        """Return exit status and output of a command."""
        process = await asyncio.create_subprocess_exec(
            *argv, env=self.variables, stdin=asyncio.subprocess.DEVNULL, stdout=-1, stderr=-2
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def tmux(self, *arguments: str) -> str:
        """Return what a tmux command prints."""
        status, output = await self.run(["tmux", "-u", "-S", self.session.socket, *arguments])
        assert status == 0, output
        return output.rstrip("\n")

    async def ask(self, format_: str, target: str | None = None) -> str:
        """Return a format of the session's active pane."""
        return await self.tmux("display-message", "-p", "-t", target or self.target, format_)

    async def ensure(self, *variables: str) -> None:
        """Make the session exist."""
        status, output = await self.run(self.session.ensure_argv(variables))
        assert (status, output) == (0, "")

    async def save(self) -> None:
        """Save the session."""
        assert await self.run(self.session.save_argv()) == (0, "")

    async def restart(self) -> None:
        """Save, lose every process, and start again."""
        await self.save()
        await self.tmux("kill-server")
        await self.ensure()

    async def type(self, line: str, target: str | None = None) -> None:
        """Type a line into a pane."""
        await self.tmux("send-keys", "-t", target or self.target, "-l", line)
        await self.tmux("send-keys", "-t", target or self.target, "Enter")

    async def text(self, target: str | None = None) -> list[str]:
        """Return scrollback and screen of a pane."""
        return (await self.tmux("capture-pane", "-p", "-S", "-", "-t", target or self.target)).split("\n")

    async def shows(self, line: str, target: str | None = None) -> None:
        """Return when a pane shows a line that is exactly this."""

        async def there() -> bool:
            return line in await self.text(target)

        await until(there)

    async def attach(self, size: TerminalSize = PHONE_SIZE, client: str = "") -> Phone:
        """Return one more phone."""
        terminal = await PtyTerminal.open(
            self.session.attach_argv(client), size, env=self.variables, preface_argv=self.session.history_argv()
        )
        return Phone(terminal, size)

    async def attach_unsized(self) -> PtyTerminal:
        """Return the terminal of a phone that has not told its size."""
        argv, history = self.session.attach_argv(), self.session.history_argv()
        return await PtyTerminal.open(argv, None, env=self.variables, preface_argv=history)

    async def clients(self) -> list[str]:
        """Return a line per attached client."""
        return (await self.run(self.session.list_clients_argv()))[1].splitlines()


@asynccontextmanager
async def an_inside() -> AsyncIterator[Inside]:
    """Give a fresh one; its tmux server is gone afterwards."""
    # Not pytest's folder: the path of a socket may have 107 bytes at most (unix(7)).
    folder = Path(tempfile.mkdtemp(prefix="devpocket-"))
    inside = Inside(folder)
    try:
        yield inside
    finally:
        await inside.run(["tmux", "-S", inside.session.socket, "kill-server"])
        shutil.rmtree(folder)
