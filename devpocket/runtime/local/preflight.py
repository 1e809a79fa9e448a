"""Trying out, before anybody relies on it, whether this machine can hold environments, and with which network."""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from pathlib import Path

from devpocket.domain.environments import EnvironmentSpec, ResourceLimits
from devpocket.errors import ConfigurationError, DevPocketError
from devpocket.ids import EnvironmentId, UserId, new_id
from devpocket.runtime.errors import DriverError
from devpocket.runtime.local.accounting import ProcessFinder
from devpocket.runtime.local.configuration import LocalRuntimeSettings
from devpocket.runtime.local.ending import end_sandbox
from devpocket.runtime.local.layout import EnvironmentPaths, Layout
from devpocket.runtime.local.network import fall_back, missing_for_private, resolver_file
from devpocket.runtime.local.record import EnvironmentRecord, SandboxRecord, read_record, write_record
from devpocket.runtime.local.sandbox import Sandboxes
from devpocket.runtime.local.spawning import run
from devpocket.runtime.local.storage import remove_tree
from devpocket.runtime.local.system_files import variables_of, write_system_files
from devpocket.runtime.local.uids import gid_of
from devpocket.runtime.tmux import TmuxSession
from devpocket.settings import LocalNetwork, LocalSandbox

TOOLS = {"setpriv": "util-linux", "nsenter": "util-linux", "prlimit": "util-linux", "bash": "bash", "tmux": "tmux"}
SOCKET_PATH_BYTES = 107
"""The longest path of a socket (unix(7))."""
_LIMITS = ResourceLimits(cpu="1000m", memory="256Mi", storage="1Gi")
_NAMESPACE_HINTS = {
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl kernel.unprivileged_userns_clone=1"),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    "/proc/sys/user/max_user_namespaces": ("0", "sysctl user.max_user_namespaces=10000"),
}


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found out."""

    network: LocalNetwork
    """Never ``auto``."""
    warnings: tuple[str, ...]


def check_tools() -> None:
    """Raise ConfigurationError when a program is missing that every environment needs."""
    missing = sorted(tool for tool in TOOLS if shutil.which(tool) is None)
    if missing:
        packages = " ".join(sorted({TOOLS[tool] for tool in missing}))
        raise ConfigurationError(f"{', '.join(missing)} is missing: apt-get install {packages}")


async def preflight(
    settings: LocalRuntimeSettings, layout: Layout, sandboxes: Sandboxes, find: ProcessFinder, uid: int
) -> Preflight:
    """Start an empty environment and end it again; raises ConfigurationError with the reason when that fails."""
    if settings.sandbox is LocalSandbox.NONE:
        found = _without_walls(settings, layout)
        await _need(_try(layout, sandboxes, find, uid, LocalNetwork.HOST))
        return found
    if settings.network in (LocalNetwork.HOST, LocalNetwork.NONE):
        await _need(_try(layout, sandboxes, find, uid, settings.network))
        warning = "LOCAL_NETWORK=host: environments reach this machine's loopback"
        return Preflight(settings.network, (warning,) if settings.network is LocalNetwork.HOST else ())
    reason = missing_for_private()
    if not reason:
        await _need(_try(layout, sandboxes, find, uid, LocalNetwork.NONE))
        try:
            await _try(layout, sandboxes, find, uid, LocalNetwork.PRIVATE)
        except DevPocketError as error:
            reason = f"passt does not work here: {_last_line(error)}"
    if not reason:
        return Preflight(LocalNetwork.PRIVATE, ())
    warning = fall_back(settings, reason)
    await _need(_try(layout, sandboxes, find, uid, LocalNetwork.HOST))
    return Preflight(LocalNetwork.HOST, (warning,))


async def clear_trials(layout: Layout, find: ProcessFinder) -> None:
    """End and remove what processes that died were trying out. Only while no other process can be trying."""
    for paths in await asyncio.to_thread(layout.trials):
        record = await asyncio.to_thread(read_record, paths.record)
        if record is not None and record.sandbox is not None:
            await end_sandbox(EnvironmentId(paths.root.name), record.sandbox, find, grace_s=0.0)
        await remove_tree(paths.root)


def _without_walls(settings: LocalRuntimeSettings, layout: Layout) -> Preflight:
    if settings.network in (LocalNetwork.PRIVATE, LocalNetwork.NONE):
        raise ConfigurationError(f"LOCAL_NETWORK={settings.network} needs a sandbox, and LOCAL_SANDBOX is none")
    warnings = [
        "LOCAL_SANDBOX=none: environments see this machine and each other; only for people whom you trust with it"
    ]
    if settings.network is LocalNetwork.AUTO:
        warnings.append(fall_back(settings, "there is no sandbox"))
    environment_id = EnvironmentId(new_id())
    socket = TmuxSession(environment_id, home=str(layout.of(environment_id).home)).socket
    if len(socket.encode()) > SOCKET_PATH_BYTES:
        raise ConfigurationError(f"DATA_DIR is too long for LOCAL_SANDBOX=none: {socket} has to be a socket's path")
    return Preflight(LocalNetwork.HOST, tuple(warnings))


async def _need(attempt: Awaitable[None]) -> None:
    try:
        await attempt
    except DevPocketError as error:
        hints = [hint for path, (bad, hint) in _NAMESPACE_HINTS.items() if _content(path) == bad]
        hint = f"; try: {hints[0]}" if hints else ""
        raise ConfigurationError(f"environments cannot be started here: {_last_line(error)}{hint}") from error


async def _try(layout: Layout, sandboxes: Sandboxes, find: ProcessFinder, uid: int, network: LocalNetwork) -> None:
    """Start, enter and end an environment in the trash, where a crash leaves nothing that counts."""
    environment_id = EnvironmentId(new_id())
    paths = EnvironmentPaths(layout.trash / environment_id)
    spec = EnvironmentSpec(environment_id, UserId(""), f"preflight-{environment_id}", "", _LIMITS, {}, ())
    record = EnvironmentRecord(uid=uid, hostname=spec.hostname, limits=_LIMITS)
    sandbox: SandboxRecord | None = None
    try:
        layout.create_environment(paths, uid)
        write_system_files(
            paths, spec, variables_of(spec, home=sandboxes.home(paths)), resolver_file(network)[0], gid_of(uid)
        )
        sandbox = await sandboxes.start(
            paths, record, network, lambda sandbox: write_record(paths.record, replace(record, sandbox=sandbox))
        )
        with sandboxes.entering(paths, replace(record, sandbox=sandbox)) as entry:
            result = await run([*entry.argv, "id", "-u"], deadline_s=10.0, pass_fds=entry.pass_fds)
        if result.exit_code != 0:
            raise DriverError("The sandbox cannot be entered.", detail=result.text[-500:])
    except TimeoutError as error:
        raise DriverError("The sandbox does not answer.") from error
    finally:
        if sandbox is not None:
            await end_sandbox(environment_id, sandbox, find, grace_s=0.0)
        sandboxes.cgroups.remove(environment_id)
        await remove_tree(paths.root)


def _last_line(error: DevPocketError) -> str:
    lines = (error.detail or error.public).strip().splitlines()
    return f"{error.public} ({lines[-1].strip()})" if lines else error.public


def _content(path: str) -> str | None:
    with contextlib.suppress(OSError):
        return Path(path).read_text().strip()
    return None
