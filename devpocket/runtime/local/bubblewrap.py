"""The command line of bubblewrap (bwrap(1)): what an environment sees of this machine."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from devpocket.errors import ConfigurationError
from devpocket.runtime.local.spawning import HOST_VARIABLES
from devpocket.runtime.local.system_files import FILES, HOME, INSIDE_UID, LINKED

INSTALL_HINT = "apt-get install bubblewrap"
_REQUIRED_OPTIONS = ("--unshare-cgroup-try", "--as-pid-1", "--info-fd", "--perms", "--remount-ro")
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What programs need of /etc. Nothing that holds accounts, keys or the set-up of services.
_ETC = (
    "alternatives", "bash.bashrc", "bash_completion", "bash_completion.d", "ca-certificates", "ca-certificates.conf",
    "crypto-policies", "debian_version", "fonts", "gai.conf", "gitconfig", "host.conf", "inputrc", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "locale.alias", "locale.conf", "localtime", "lsb-release", "magic", "magic.mime",
    "manpath.config", "maven", "mime.types", "nanorc", "networks", "npmrc", "nsswitch.conf", "os-release", "perl",
    "pip.conf", "pki", "profile.d", "protocols", "python3", "rpc", "services", "shells", "skel", "ssl", "terminfo",
    "timezone", "vim",
)  # fmt: skip
_ETC_PATTERNS = ("java-*", "python3.*")
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """The bubblewrap of this machine."""

    version: str
    options: frozenset[str]
    """The options that it knows."""

    @property
    def forbids_namespaces(self) -> bool:
        """True where it can keep an environment from making user namespaces of its own (0.8)."""
        return "--disable-userns" in self.options

    def argv(
        self, *, source: Path, hostname: str, memory_bytes: int, own_network: bool, hidden: list[Path]
    ) -> list[str]:
        """Return the command line up to ``--info-fd``'s number and the command itself.

        ``source`` is the folder that holds ``home`` and ``etc`` as seen by the user that runs it; ``hidden`` are paths
        that would be visible and must not be.
        """
        return [
            "bwrap",
            *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
            *(["--unshare-net"] if own_network else []),
            *(["--disable-userns"] if self.forbids_namespaces else []),
            *("--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID), "--hostname", hostname, "--as-pid-1"),
            *_system(),
            *self._private(memory_bytes),
            *_etc(),
            *("--bind", f"{source}/home", HOME, "--ro-bind", f"{source}/etc", FILES),
            *("--symlink", f"{HOME}/workspace", "/workspace"),
            *(word for path in hidden for word in self._cover(path)),
            # The folders that bubblewrap itself made belong to the user otherwise.
            *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"),
        ]

    def _private(self, memory_bytes: int) -> list[str]:
        """Own /proc, /dev and scratch folders.

        What is in them is memory that no end of a process gives back: all of them full must leave enough for a shell
        in which to empty them.
        """
        half, quarter = memory_bytes // 2, memory_bytes // 4
        return [
            *("--proc", "/proc", "--dev", "/dev"),
            *self._scratch("/dev/shm", quarter),  # noqa: S108 - inside, not out here
            *self._scratch("/tmp", half),  # noqa: S108
            *self._scratch("/run", memory_bytes // 64, "0755"),
            *("--perms", "0700", "--dir", f"/run/user/{INSIDE_UID}"),
            *("--perms", "0755", "--dir", "/var", "--symlink", "../run", "/var/run"),
            *("--symlink", "../tmp", "/var/tmp"),  # noqa: S108
        ]

    def _scratch(self, path: str, size_bytes: int, mode: str = "1777") -> list[str]:
        size = ["--size", str(size_bytes)] if "--size" in self.options else []
        return ["--perms", mode, *size, "--tmpfs", path]

    def _cover(self, path: Path) -> list[str]:
        if path.is_dir():
            return [*self._scratch(str(path), 4096, "0000"), "--remount-ro", str(path)]
        return ["--ro-bind", "/dev/null", str(path)]


def find_bubblewrap() -> Bubblewrap:
    """Ask this machine's bubblewrap what it can do; ConfigurationError when there is none or it is too old. Blocks."""
    try:
        text = _ask("--help")
        version = _ask("--version").removeprefix("bubblewrap").strip()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"bubblewrap is needed to keep environments apart and is not installed: {INSTALL_HINT} "
            "(or set LOCAL_SANDBOX=none to run them without any wall)"
        ) from error
    options = frozenset(word for word in text.split() if word.startswith("--"))
    missing = [option for option in _REQUIRED_OPTIONS if option not in options]
    if missing:
        raise ConfigurationError(f"bubblewrap {version} is too old, it lacks {' '.join(missing)}: {INSTALL_HINT}")
    return Bubblewrap(version, options)


def _ask(option: str) -> str:
    result = subprocess.run(
        ["bwrap", option], capture_output=True, text=True, env=HOST_VARIABLES, timeout=10, check=False
    )
    return result.stdout + result.stderr


def _system() -> list[str]:
    """The programs and libraries of this machine, read-only."""
    argv = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_FOLDERS:
        path = Path("/", name)
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            argv += ["--ro-bind", str(path), str(path)]
    return argv


def _etc() -> list[str]:
    etc = Path("/etc")
    found = [etc / name for name in _ETC] + [path for pattern in _ETC_PATTERNS for path in sorted(etc.glob(pattern))]
    return [
        *("--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/home"),
        *(word for path in found if path.exists() for word in ("--ro-bind-try", str(path), str(path))),
        *(word for name in LINKED for word in ("--symlink", f"devpocket/{name}", f"/etc/{name}")),
        *("--symlink", "/proc/mounts", "/etc/mtab"),
    ]


def hidden_below_system(paths: list[Path]) -> list[Path]:
    """Return those of the server's own paths that lie in a tree that environments see."""
    visible = [Path("/usr"), *(Path("/", name) for name in _SYSTEM_FOLDERS)]
    return sorted({path for path in paths if path.exists() and any(path.is_relative_to(top) for top in visible)})
