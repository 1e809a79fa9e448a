"""The network of an environment: its own behind passt, the host's, or none.

Private: passt's ``pasta`` (pasta(1)) carries a network namespace to the outside in user space, without any privilege.
``--no-map-gw`` and no forwarded ports in either direction: nothing on the host's loopback can be reached, and nothing
of an environment is opened on the host.
"""

import asyncio
import contextlib
import ipaddress
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from devpocket.errors import ConfigurationError
from devpocket.runtime.errors import DriverError
from devpocket.runtime.local.configuration import LocalRuntimeSettings
from devpocket.runtime.local.identity import ProcessIdentity
from devpocket.runtime.local.namespaces import open_namespaces
from devpocket.runtime.local.spawning import Nursery
from devpocket.runtime.local.uids import drop_argv
from devpocket.settings import LocalNetwork

INSTALL_HINT = "apt-get install passt"
FORWARDED_RESOLVER = "169.254.53.53"
"""Stands for the host's resolver where that listens on an address that an environment has for itself."""
_PASTA = (
    *("nice", "-n", "5", "pasta", "--foreground", "--quiet", "--config-net", "--no-map-gw"),
    *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
)
_TUN = Path("/dev/net/tun")
_RESOLV_CONF = Path("/etc/resolv.conf")
_UPSTREAM_RESOLV_CONF = Path("/run/systemd/resolve/resolv.conf")
_DEADLINE_S = 10.0
_POLL_S = 0.003


def missing_for_private() -> str:
    """Return what keeps a private network from working that can be seen without trying; empty when nothing does."""
    if shutil.which("pasta") is None:
        return f"passt is not installed: {INSTALL_HINT}"
    try:
        mode = _TUN.stat().st_mode
    except OSError:
        return f"{_TUN} does not exist: modprobe tun"
    everybody = stat.S_IROTH | stat.S_IWOTH
    accessible = (mode & everybody) == everybody if os.geteuid() == 0 else os.access(_TUN, os.R_OK | os.W_OK)
    return "" if accessible else f"{_TUN} cannot be used by ordinary users: chmod 666 {_TUN}"


def fall_back(settings: LocalRuntimeSettings, reason: str) -> str:
    """Return the warning with which ``auto`` shares the host's network, since a private one does not work.

    Raises ConfigurationError where that is not allowed: asked for, or a server that others can reach.
    """
    if settings.network is LocalNetwork.PRIVATE:
        raise ConfigurationError(f"LOCAL_NETWORK=private does not work here: {reason}")
    if not is_loopback(settings.host):
        raise ConfigurationError(
            f"environments cannot have a network of their own ({reason}), and the server listens on {settings.host}, "
            "where others would reach this machine's loopback through them: mend that, or set LOCAL_NETWORK=none, or "
            "LOCAL_NETWORK=host if you trust every user"
        )
    return f"environments share this machine's network and reach its loopback, because {reason}"


def is_loopback(host: str) -> bool:
    """Tell whether a server that listens on ``host`` can be reached from this machine alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


def resolver_file(network: LocalNetwork) -> tuple[str, bool]:
    """Return ``/etc/resolv.conf`` as it works inside, and whether :data:`FORWARDED_RESOLVER` has to be carried.

    In a private network, resolvers on the host's own addresses cannot be reached by those addresses.
    """
    if network is LocalNetwork.NONE:
        return "# no network\n", False
    lines = _lines(_RESOLV_CONF)
    if network is LocalNetwork.HOST:
        return "\n".join([*lines, ""]), False
    for candidate in (lines, _lines(_UPSTREAM_RESOLV_CONF)):
        usable = [line for line in candidate if not line.startswith("nameserver") or not _is_local(line)]
        if any(line.startswith("nameserver") for line in usable):
            return "\n".join([*usable, ""]), False
    others = [line for line in lines if not line.startswith("nameserver")]
    return "\n".join([f"nameserver {FORWARDED_RESOLVER}", *others, ""]), True


async def attach_passt(init: ProcessIdentity, uid: int, nursery: Nursery, log: int) -> ProcessIdentity:
    """Give the sandbox of ``init`` a private network and return the process that carries it.

    It outlives the sandbox, so whoever ends that ends it, too. Raises DriverError when it does not come
    up within 10 s; nothing is left then, nor when this is cancelled.
    """
    with _descriptors(init) as (user, net):
        forward = ["--dns-forward", FORWARDED_RESOLVER] if resolver_file(LocalNetwork.PRIVATE)[1] else []
        paths = ["--userns", f"/proc/self/fd/{user}", "--netns", f"/proc/self/fd/{net}"]
        with open(os.devnull, "r+b", buffering=0) as null:  # noqa: ASYNC230, PTH123 - never waits
            pid = nursery.spawn(
                [*drop_argv(uid), *_PASTA, *forward, *paths],
                stdin=null.fileno(),
                stdout=null.fileno(),
                stderr=log,
                pass_fds=(user, net),
            )
    passt = ProcessIdentity.of(pid)
    try:
        await _wait_for_route(init, passt)
    except BaseException:
        passt.kill()
        raise
    return passt


async def _wait_for_route(init: ProcessIdentity, passt: ProcessIdentity) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not has_default_route(init.pid):
        if not passt.is_alive or time.monotonic() > deadline:
            raise DriverError("The network of this environment could not be set up.", detail="pasta gave no route")
        await asyncio.sleep(_POLL_S)


def has_default_route(pid: int) -> bool:
    """Tell whether the network of a process leads anywhere (IPv4 or IPv6)."""
    with contextlib.suppress(OSError):
        v4 = [line.split() for line in Path(f"/proc/{pid}/net/route").read_text().splitlines()[1:]]
        if any(fields[1] == "00000000" and fields[7] == "00000000" for fields in v4):
            return True
        v6 = [line.split() for line in Path(f"/proc/{pid}/net/ipv6_route").read_text().splitlines()]
        return any(fields[1] == "00" and fields[0] == "0" * 32 and fields[9] != "lo" for fields in v6)
    return False


@contextlib.contextmanager
def _descriptors(init: ProcessIdentity) -> Iterator[tuple[int, int]]:
    try:
        with open_namespaces(init) as namespaces:
            yield namespaces.owner, namespaces.others["net"]
    except ProcessLookupError as error:
        raise DriverError("The environment ended while it was being started.") from error


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        words = ("nameserver", "search", "domain", "options")
        lines = (line.strip() for line in path.read_text(errors="replace").splitlines())
        return [line for line in lines if line.startswith(words)]
    return []


def _is_local(line: str) -> bool:
    """Tell whether the resolver of a ``nameserver`` line is this machine itself: an address that can be bound here."""
    address = [*line.split(), ""][1]
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address.partition("%")[0]).version == 6 else socket.AF_INET
    except ValueError:
        return True
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return True
    return False
