"""Nothing is left behind, whatever a home holds and whenever it ends."""

import asyncio
from pathlib import Path

import pytest

from devpocket.domain.terminals import TerminalSize
from devpocket.errors import UnavailableError
from devpocket.runtime.local import spawning, storage
from devpocket.runtime.port import ContainerState
from devpocket.settings import LocalNetwork
from tests.runtime.inside import open_descriptors
from tests.runtime.local_tools import (
    inside,
    living,
    make_spec,
    no_private_network_reason,
    on_host,
    outcome,
    sandbox_of,
    until,
)


@pytest.fixture
async def runtime(start_local):
    return await start_local()


def everything(folder):
    """Return all files and folders below the runtime's own."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def mounts():
    """Return what is mounted in the server's view."""
    return Path("/proc/self/mounts").read_text().splitlines()


NOTHING = ["environments", "locks", "trash", "uids"]


async def test_links_in_a_home_are_removed_and_not_followed(runtime, tmp_path):
    treasure = tmp_path / "treasure"
    (treasure / "inner").mkdir(parents=True)
    (treasure / "inner" / "file").write_text("stays")
    spec = make_spec()
    await runtime.ensure_running(spec)
    script = f"""
        cd ~ && ln -s {treasure} link && ln -s / root && ln -s .. up && ln -s {treasure}/inner/file file
        mkdir deep && ln -s {treasure} deep/link && ln -s loop loop
        rm -rf workspace && ln -s {treasure} workspace && rm -rf .tmux && ln -s {treasure} .tmux
    """
    await inside(runtime, spec, script)
    await runtime.ensure_stopped(spec.environment_id)
    await runtime.ensure_running(spec)
    await runtime.ensure_terminal(spec)
    assert (await runtime.usage(spec.environment_id)).storage_bytes < 1_000_000
    await runtime.ensure_deleted(spec.environment_id)
    assert (treasure / "inner" / "file").read_text() == "stays"
    assert everything(treasure) == ["inner", "inner/file"]
    assert everything(tmp_path / "data") == NOTHING


async def test_forbidden_and_odd_files_are_removed(runtime, tmp_path):
    spec = make_spec()
    await runtime.ensure_running(spec)
    script = r"""
        mkdir -p ~/a/b/c && touch ~/a/b/c/file && chmod 000 ~/a/b/c ~/a/b ~/a
        mkdir -p ~/module/cache && touch ~/module/cache/file && chmod -R a-w ~/module
        mkfifo ~/pipe; touch ~/-rf ~/$'new\nline' ~/$'\xff\xfe'
        d=~; for i in $(seq 150); do d=$d/ddddddddddddddddddddddddd; mkdir "$d" || break; cd "$d"; done; true
    """
    await inside(runtime, spec, script)
    await runtime.ensure_deleted(spec.environment_id)
    assert everything(tmp_path / "data") == NOTHING


async def test_an_ordinary_server_removes_what_was_forbidden_to_itself(tmp_path, monkeypatch):
    argvs: list[str] = []
    real = spawning.run

    async def run_unless_first(argv, **options):
        argvs.append(argv[3])
        return await real(["false"] if len(argvs) == 1 else argv, **options)

    monkeypatch.setattr(storage, "run", run_unless_first)
    (tmp_path / "tree" / "closed").mkdir(parents=True)
    (tmp_path / "tree" / "closed" / "file").touch()
    (tmp_path / "tree" / "closed").chmod(0o000)
    await storage.remove_tree(tmp_path / "tree")
    assert argvs == ["rm", "chmod", "rm"]
    assert not (tmp_path / "tree").exists()


async def test_what_cannot_be_removed_is_said(tmp_path, monkeypatch):
    real = spawning.run

    async def fail(argv, **options):
        return await real(["false"], **options)

    monkeypatch.setattr(storage, "run", fail)
    with pytest.raises(UnavailableError):
        await storage.remove_tree(tmp_path)


async def test_processes_that_hide_end_with_the_environment(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    mark = f"hidden-{spec.environment_id}"
    stubborn = "trap '' TERM HUP INT; while :; do read -t 100 < <(:); sleep 100; done"
    script = f'for i in 1 2 3; do (MARK={mark} setsid bash -c "{stubborn}" </dev/null >/dev/null 2>&1 &); done'
    await inside(runtime, spec, script)

    async def are_there() -> bool:
        return len(await asyncio.to_thread(living, mark.encode())) >= 3

    await until(are_there)
    await runtime.ensure_stopped(spec.environment_id)
    assert living(mark.encode()) == []
    assert living(spec.environment_id.encode()) == []


async def test_processes_are_asked_before_they_are_killed(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    saver = "trap 'echo saved > ~/state; exit' TERM; echo > ~/waits; while :; do sleep 0.05; done"
    await inside(
        runtime, spec, f'(setsid bash -c "{saver}" </dev/null >/dev/null 2>&1 &); until [ -e ~/waits ]; do :; done'
    )
    await runtime.ensure_stopped(spec.environment_id)
    await runtime.ensure_running(spec)
    assert await inside(runtime, spec, "cat ~/state") == "saved"


@pytest.mark.parametrize("network", ["none", "private"])
async def test_twenty_environments_leave_nothing(start_local, tmp_path, network):
    if network == "private" and no_private_network_reason():
        pytest.skip(no_private_network_reason())
    runtime = await start_local(network=LocalNetwork(network))
    before, descriptors = mounts(), open_descriptors()
    ids = []
    for _ in range(20 if network == "none" else 5):
        spec = make_spec("sleep 100")
        ids.append(spec.environment_id)
        await runtime.ensure_running(spec)
        await runtime.ensure_terminal(spec)
        await runtime.ensure_installation(spec, 1)
        terminal = await runtime.attach(spec.environment_id, TerminalSize())
        groups = sandbox_of(runtime, spec).groups
        await terminal.close()
        await runtime.ensure_deleted(spec.environment_id)
        assert not any(on_host(group) for group in groups)
    for environment_id in ids:
        assert living(environment_id.encode()) == []
    assert everything(tmp_path / "data") == NOTHING
    assert mounts() == before
    assert runtime._nursery._pidfds == {}
    assert open_descriptors() <= descriptors + 2


async def test_a_sandbox_that_ended_by_itself_is_seen_and_cleared(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    sandbox = sandbox_of(runtime, spec)
    assert sandbox.init.kill()

    async def is_stopped() -> bool:
        return await runtime.observe(spec.environment_id) is ContainerState.STOPPED

    await until(is_stopped)
    assert await runtime.usage(spec.environment_id) is None
    assert (await outcome_or_refusal(runtime, spec)) == "environment_not_running"
    await runtime.ensure_running(spec)
    assert sandbox_of(runtime, spec).init != sandbox.init


async def outcome_or_refusal(runtime, spec):
    """Return the code of the refusal to run something in an environment."""
    try:
        return await outcome(runtime, spec, "true")
    except Exception as error:
        return getattr(error, "code", error)


async def test_a_cancelled_start_leaves_nothing(runtime, tmp_path):
    for delay_s in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05):
        spec = make_spec()
        starting = asyncio.create_task(runtime.ensure_running(spec))
        await asyncio.wait([starting], timeout=delay_s)
        starting.cancel()
        await asyncio.wait([starting])
        await runtime.ensure_deleted(spec.environment_id)

        async def is_gone(mark: bytes = spec.environment_id.encode()) -> bool:
            return not await asyncio.to_thread(living, mark)

        await until(is_gone)
    assert everything(tmp_path / "data") == NOTHING


async def test_a_cancelled_command_ends_inside_too(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    running = asyncio.create_task(inside(runtime, spec, "exec -a cancel-me sleep 100"))

    async def is_there() -> bool:
        return bool(await asyncio.to_thread(living, b"cancel-me\0"))

    await until(is_there)
    running.cancel()
    await asyncio.wait([running])

    async def is_gone() -> bool:
        return not await is_there()

    await until(is_gone)


async def test_trash_and_groups_of_a_crash_are_swept_at_the_start(start_local, tmp_path):
    first = await start_local()
    spec = make_spec()
    await first.ensure_running(spec)
    environments = first._parts.environments
    record = environments.record(spec.environment_id)
    discarded = environments.layout.discard(environments.layout.of(spec.environment_id))
    assert discarded.is_dir()
    record.sandbox.init.kill()

    second = await start_local()
    await second._sweeping
    assert everything(tmp_path / "data") == NOTHING

    async def are_gone() -> bool:
        second._parts.cgroups.remove(spec.environment_id)
        return not any(on_host(group) for group in record.sandbox.groups)

    await until(are_gone)
