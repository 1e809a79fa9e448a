"""The files that are ``/etc/devpocket`` inside: a small system configuration, our scripts, the user's variables."""

from collections.abc import Mapping
from pathlib import Path

from devpocket.domain.environments import EnvironmentSpec
from devpocket.runtime import tmux
from devpocket.runtime.errors import DriverError
from devpocket.runtime.local.accounting import MARK
from devpocket.runtime.local.layout import EnvironmentPaths
from devpocket.runtime.local.record import write_atomically

USER = "devpocket"
INSIDE_UID = 1000
HOME = "/home/devpocket"
FILES = "/etc/devpocket"
ENVIRONMENT_FILE = "environment"
RESOLVER_FILE = "resolv.conf"
LINKED = ("passwd", "group", "hosts", "hostname", "profile", RESOLVER_FILE)
"""Those that programs look for in ``/etc`` itself."""

_FILES_PATH = Path(__file__).parent / "files"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/games:/usr/games"
_PASSWD = f"""\
root:x:0:0:root:/root:/usr/sbin/nologin
{USER}:x:{INSIDE_UID}:{INSIDE_UID}:DevPocket:{HOME}:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUP = f"""\
root:x:0:
tty:x:5:
{USER}:x:{INSIDE_UID}:
nogroup:x:65534:
"""
# Unlike Debian's own, it leaves the PATH of the environment's variables alone.
_PROFILE = """\
if [ -n "${BASH_VERSION-}" ] && [ -n "${PS1-}" ] && [ -r /etc/bash.bashrc ]; then
    . /etc/bash.bashrc
fi
for script in /etc/profile.d/*.sh; do
    if [ -r "$script" ]; then . "$script"; fi
done
unset script
"""


def variables_of(spec: EnvironmentSpec, *, home: str = HOME) -> dict[str, str]:
    """Return all variables of an environment: the system's with its own laid over them.

    Raises DriverError for a name or a value that no process can be given (environ(7)).
    """
    variables = {
        "LOGNAME": USER,
        "SHELL": "/bin/bash",
        "PATH": f"{home}/.local/bin:{home}/bin:{_SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        **({"XDG_RUNTIME_DIR": f"/run/user/{INSIDE_UID}"} if home == HOME else {}),
        **({"PORT": str(spec.port)} if spec.port is not None else {}),
        **spec.variables,
    }
    # What everything else relies on is not for variables to change.
    variables.update({MARK: spec.environment_id, "HOME": home, "USER": USER})
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise DriverError("A variable of this environment cannot be set.", detail=f"variable {name!r}")
    return variables


def write_system_files(
    paths: EnvironmentPaths, spec: EnvironmentSpec, variables: Mapping[str, str], resolver: str, gid: int
) -> None:
    """Write the files of an environment anew; each is replaced in one step, so that a running one may see it.

    ``gid`` is the group that may read them beside the server.
    """
    hosts = f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {spec.hostname}\n"
    lines = (f"{name}={value}".encode("utf-8", "surrogateescape") for name, value in variables.items())
    encoded = b"".join(line + b"\0" for line in lines)
    contents = {
        "passwd": _PASSWD.encode(),
        "group": _GROUP.encode(),
        "profile": _PROFILE.encode(),
        "hosts": hosts.encode(),
        "hostname": f"{spec.hostname}\n".encode(),
        RESOLVER_FILE: resolver.encode(),
        ENVIRONMENT_FILE: encoded,
        **{source.name: source.read_bytes() for source in _FILES_PATH.iterdir() if source.is_file()},
        **tmux.files(),
    }
    for name, content in contents.items():
        path = paths.etc / name
        if name == ENVIRONMENT_FILE or not _is_written(path, content):
            write_atomically(path, content, mode=0o640 if name == ENVIRONMENT_FILE else 0o644, gid=gid)


def _is_written(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
