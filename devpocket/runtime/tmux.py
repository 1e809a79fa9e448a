"""The one place that knows tmux: names, files and command lines; nothing here runs anything.

Every command line is run *inside* the environment, as its user, by whatever enters it (a sandbox, ``docker exec``,
Kubernetes' exec). Nothing of tmux runs on the server's side: ``tmux detach-client -E COMMAND``, typed inside, makes
the attached client execute that command in its own place (tmux(1)). The home belongs to the environment's user and is
hostile, so whatever touches it is a script that runs inside, too. All output is therefore data to distrust: bound it.

Give each process, as its environment, ``HOME``, ``USER``, ``SHELL``, ``LANG`` and the environment's own variables, and
nothing of the server's: a tmux server that has to be started takes all of it over. ``TERM`` is set in here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from devpocket.ids import EnvironmentId

FILES_PATH = "/etc/devpocket"
"""Where :func:`files` are found inside an environment, unless said otherwise."""
HOME_PATH = "/home/devpocket"

_RUNTIME_PATH = Path(__file__).parent
_SOURCES = (_RUNTIME_PATH.parents[1] / "config" / "tmux.conf", *sorted((_RUNTIME_PATH / "files").glob("terminal-*.sh")))


def files() -> Mapping[str, bytes]:
    """Return name and content of each file that must be readable in the files directory of an environment."""
    return {source.name: source.read_bytes() for source in _SOURCES}


@dataclass(frozen=True, slots=True)
class TmuxSession:
    """The one session of an environment, named after it; its server, socket and saved state are in ``home/.tmux``.

    Each ``*_argv`` returns the command line of a short process that ends by itself within its deadline (seconds, in its
    docstring), :meth:`attach_argv` excepted. All may be run at the same time and any number of times.
    """

    environment_id: EnvironmentId
    home: str = HOME_PATH
    files: str = FILES_PATH

    @property
    def name(self) -> str:
        """The session's name."""
        return f"devpocket_{self.environment_id}"

    @property
    def socket(self) -> str:
        """The path of the tmux server's socket, as seen inside."""
        return f"{self.home}/.tmux/tmux.sock"

    def ensure_argv(self, variables: Iterable[str] = ()) -> list[str]:
        """Make server and session exist; 20 s, about 30 ms when nothing is to be restored.

        A session that is missing is restored from the saved state; without one, or with a broken one, it is a window
        in ``home/workspace`` with the login shell. ``variables`` names those of the process' environment that windows
        opened from now on shall see with their present values; what was named before and is not there any more they do
        not see. Exits with 0 when the session is there.
        """
        return self._short(20, "ensure", *variables)

    def attach_argv(self, client: str = "") -> list[str]:
        """Be a tmux client on the terminal that is standard input, after :meth:`ensure_argv` where that is needed.

        Needs a terminal as stdin, stdout and stderr, and runs until detached. ``client`` (letters, digits, ``_``) names
        it for :meth:`detach_argv`; leave it out where the process can be signalled.
        """
        return self._script("attach", *([client] if client else []))

    def history_argv(self) -> list[str]:
        """Print the lines that had scrolled off when the last client attached: ``\\n``-ended, coloured; 5 s.

        At most 2,000 lines and 1 MiB; nothing when there are none. Run it after the client has drawn its screen.
        """
        return self._short(5, "history")

    def save_argv(self) -> list[str]:
        """Save windows, layout, working directories and scrollback under ``home/.tmux``, atomically; 15 s.

        Exits with 0 when saved, with 3 when there is no session to save: what was saved before stays.
        """
        return self._short(15, "save")

    def list_clients_argv(self) -> list[str]:
        """Print a line per attached client: its process id (as seen inside), terminal, columns, rows; 5 s."""
        return self._short(5, "clients")

    def detach_argv(self, client: str) -> list[str]:
        """Detach the client that attached under this name; 5 s. Exits with 0 also when it is gone already."""
        return self._short(5, "detach", client)

    def _short(self, deadline_s: int, script: str, *arguments: str) -> list[str]:
        return ["/usr/bin/timeout", "-k", "1", str(deadline_s), *self._script(script, *arguments)]

    def _script(self, script: str, *arguments: str) -> list[str]:
        # Found whatever the environment's PATH is. -p: neither BASH_ENV nor functions of its variables are taken over.
        return ["/bin/bash", "-p", f"{self.files}/terminal-{script}.sh", self.home, self.name, *arguments]
