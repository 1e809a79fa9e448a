"""What an environment uses up is its own: the server and the others go on."""

import asyncio
import time
from dataclasses import replace

import pytest

from devpocket.domain.environments import ResourceLimits
from devpocket.runtime.errors import DriverError
from devpocket.runtime.local import driver, storage
from devpocket.runtime.local.cgroups import Cgroups
from devpocket.runtime.local.installation import KEPT_ATTEMPTS, LOG_BYTES
from devpocket.runtime.local.storage import DiskSpace
from devpocket.runtime.port import ContainerState, InstallationState
from tests.runtime.local_tools import inside, installed, make_spec, outcome, sandbox_of, size_of, until

MEBIBYTE = 1024 * 1024


@pytest.fixture(params=["cgroups", "rlimits"])
async def runtime(request, start_local, monkeypatch):
    """With control groups where this machine has them, and as on a machine without any."""
    if request.param == "rlimits":
        monkeypatch.setattr(driver, "find_cgroups", lambda _: Cgroups({}))
    runtime = await start_local(processes=60)
    if request.param == "cgroups" and not runtime._parts.cgroups.controllers:
        pytest.skip("this machine delegates no control groups")
    return runtime


@pytest.fixture
async def pair(runtime):
    hostile, neighbour = make_spec(memory="256Mi", storage="64Mi"), make_spec()
    for spec in (hostile, neighbour):
        await runtime.ensure_running(spec)
    return hostile, neighbour


async def assert_answers(runtime, spec):
    began = time.monotonic()
    assert await inside(runtime, spec, "echo fine") == "fine"
    assert time.monotonic() - began < 5


async def test_says_what_holds_what(runtime):
    limits = (await runtime.check()).limits
    held = runtime._parts.cgroups.controllers
    assert limits["memory"] == ("cgroup" if "memory" in held else "watch")
    assert limits["processes"] == ("cgroup" if "pids" in held else "rlimit")
    assert limits["storage"] == "watch"


async def test_a_fork_bomb_holds_up_itself_alone(runtime, pair):
    hostile, neighbour = pair
    bomb = replace(hostile, startup_commands=("bomb() { bomb | bomb & }; bomb; sleep 30",))
    await runtime.ensure_installation(bomb, 1)

    async def is_at_limit() -> bool:
        usage = await runtime.usage(hostile.environment_id)
        return usage is not None and usage.processes > 40

    await until(is_at_limit)
    usage = await runtime.usage(hostile.environment_id)
    assert usage.processes <= 70
    await assert_answers(runtime, neighbour)
    await runtime.ensure_stopped(hostile.environment_id)
    assert await runtime.observe(hostile.environment_id) is ContainerState.STOPPED
    await runtime.ensure_running(hostile)
    await assert_answers(runtime, hostile)


async def test_a_memory_hog_is_held_back(runtime, pair):
    hostile, neighbour = pair
    await runtime.ensure_terminal(hostile)
    hog = "perl -e 'my @a; push @a, \"x\" x 10_000_000 for 1..200; sleep 60'"
    code, _ = await outcome(runtime, hostile, hog)
    assert code != 0
    await assert_answers(runtime, neighbour)
    await assert_answers(runtime, hostile)
    assert await runtime.observe(hostile.environment_id) is ContainerState.RUNNING


async def test_many_small_hogs_are_held_back_together(runtime, pair, notices):
    hostile, neighbour = pair
    hogs = "for i in 1 2 3 4 5 6; do perl -e 'my $a = \"x\" x 60_000_000; sleep 60' & done"
    hog = f"{hogs}; wait -n || echo status $?; wait"
    await runtime.ensure_installation(replace(hostile, startup_commands=(hog,)), 1)

    async def is_held() -> bool:
        usage = await runtime.usage(hostile.environment_id)
        text = (await runtime.installation(hostile.environment_id, 1, 0)).text
        return usage is not None and "\nstatus 137\n" in text and usage.memory_bytes <= 256 * MEBIBYTE

    await until(is_held)
    await assert_answers(runtime, neighbour)
    await assert_answers(runtime, hostile)
    if "memory" not in runtime._parts.cgroups.controllers:
        assert notices.of(hostile)[0] == "Memory is full: the largest process was ended."


async def fill(runtime, spec, notices):
    """Write more than the storage limit, in files that are each below it, until the users are told."""
    await outcome(runtime, spec, "for i in 1 2 3; do head -c 30M /dev/urandom > ~/$i; done")

    async def is_told() -> bool:
        return bool(notices.of(spec)[-1:] == ["Storage is full: nothing can be written until something is deleted."])

    await until(is_told)


async def test_a_network_that_cannot_be_mended_leaves_everybody_watched(runtime, pair, notices, monkeypatch):
    async def fail(_):
        raise DriverError("The network of this environment could not be set up.")

    monkeypatch.setattr(runtime, "heal", fail)
    hostile, _ = pair
    await fill(runtime, hostile, notices)


async def test_a_home_that_takes_long_to_measure_holds_up_no_figures(start_local, monkeypatch):
    async def never(_):
        await asyncio.Event().wait()

    monkeypatch.setattr(storage, "measure", never)
    runtime, spec = await start_local(), make_spec()
    await runtime.ensure_running(spec)
    async with asyncio.timeout(10):
        usage = await runtime.usage(spec.environment_id)
    assert usage is not None
    assert usage.processes > 0
    assert (usage.storage_bytes, usage.storage_percent) == (None, None)


async def test_one_file_cannot_be_larger_than_the_storage(runtime, pair):
    hostile, _ = pair
    code, text = await outcome(runtime, hostile, "head -c 100M /dev/zero > ~/one")
    assert code != 0
    assert "File too large" in text


async def test_a_full_home_can_be_emptied_but_not_written(runtime, pair, notices):
    hostile, neighbour = pair
    await fill(runtime, hostile, notices)
    code, text = await outcome(runtime, hostile, "echo more > ~/more; rm ~/1 ~/2")
    assert "File too large" in text
    assert code == 0

    async def is_lifted() -> bool:
        return bool(notices.of(hostile)[-1] == "There is storage again.")

    await until(is_lifted)
    await inside(runtime, hostile, "echo again > ~/more; [ $(cat ~/more) = again ]")
    await inside(runtime, neighbour, "echo unmoved > ~/more")


async def test_a_running_shell_is_held_back_too_and_lives_on(runtime, pair, notices):
    hostile, _ = pair
    writer = "until ! echo x >> ~/log; do sleep 0.02; done; echo was refused"
    await runtime.ensure_installation(replace(hostile, startup_commands=(writer,)), 1)
    await fill(runtime, hostile, notices)
    progress = await installed(runtime, hostile.environment_id)
    assert "was refused" in progress.text.splitlines()
    assert "File too large" in progress.text


async def test_a_home_far_above_its_storage_is_left_to_its_user_unless_it_still_grows(start_local, notices):
    runtime = await start_local(files=50)
    spec = make_spec()
    await runtime.ensure_running(spec)
    await outcome(runtime, spec, "mkdir ~/many; cd ~/many; touch $(seq 200)")
    watch = runtime._parts.watch
    watch._disk.free_bytes = -1

    async def is_held() -> bool:
        home = watch._homes.get(spec.environment_id)
        return home is not None and home.held_at is home.reading

    async def was_looked_at_again() -> bool:
        home = watch._homes.get(spec.environment_id)
        return home is not None and home.held_at is not home.reading

    async def is_stopped() -> bool:
        return await runtime.observe(spec.environment_id) is ContainerState.STOPPED

    await until(is_held)
    await until(was_looked_at_again)
    await assert_answers(runtime, spec)
    assert notices.of(spec) == ["Storage is full: nothing can be written until something is deleted."]
    await inside(runtime, spec, "touch ~/many/one-more")
    await until(is_stopped)
    assert notices.of(spec)[-1].endswith("the environment was stopped.")


async def test_full_scratch_folders_leave_room_for_a_shell(runtime, pair):
    hostile, _ = pair
    await runtime.ensure_terminal(hostile)
    fill = "for folder in /tmp /dev/shm /var/tmp /run/user/1000; do cat /dev/zero > $folder/full; done; true"
    assert "No space left" in await inside(runtime, hostile, fill)
    await assert_answers(runtime, hostile)
    await inside(runtime, hostile, "rm /tmp/full /dev/shm/full /run/user/1000/full")


async def test_cpu_is_shared_out(runtime):
    spec = make_spec("while :; do :; done", cpu="200m")
    await runtime.ensure_running(spec)
    if "cpu" not in runtime._parts.cgroups.controllers:
        pytest.skip("nothing holds the CPU without control groups")
    await runtime.usage(spec.environment_id)
    await runtime.ensure_installation(spec, 1)
    first = runtime._parts.cgroups.cpu_s(spec.environment_id)
    began = time.monotonic()

    async def has_used_some() -> bool:
        return bool(runtime._parts.cgroups.cpu_s(spec.environment_id) - first > 0.2)

    await until(has_used_some)
    assert time.monotonic() - began > 0.6, "0.2 s of CPU take about a second at a fifth of one"


async def test_larger_limits_reach_a_running_environment(runtime, pair):
    hostile, _ = pair
    await runtime.ensure_running(replace(hostile, limits=ResourceLimits(cpu="1", memory="256Mi", storage="512Mi")))
    await inside(runtime, hostile, "head -c 100M /dev/zero > ~/one")


async def test_the_one_that_fills_the_disk_is_stopped_before_the_server_suffers(start_local, notices, monkeypatch):
    free_bytes = 10**10

    def space(_):
        return DiskSpace(total_bytes=10**11, free_bytes=free_bytes)

    monkeypatch.setattr(DiskSpace, "of", space)
    runtime = await start_local(watch_s=0.05)
    quiet, growing = make_spec(), make_spec()
    for spec in (quiet, growing):
        await runtime.ensure_running(spec)
        await runtime.usage(spec.environment_id)
    await inside(runtime, growing, "head -c 20M /dev/urandom > ~/data")
    free_bytes = 10**9

    async def is_stopped() -> bool:
        return await runtime.observe(growing.environment_id) is ContainerState.STOPPED

    await until(is_stopped)
    assert await runtime.observe(quiet.environment_id) is ContainerState.RUNNING
    assert notices.of(growing) == ["The disk of this server is nearly full: the environment was stopped."]


async def test_the_log_of_an_installation_is_bounded(start_local, tmp_path):
    runtime = await start_local()
    spec = make_spec("echo first; yes | head -c 10000000; echo last")
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)
    progress = await installed(runtime, spec.environment_id)
    assert progress.state is InstallationState.SUCCEEDED
    log = tmp_path / "data" / "environments" / spec.environment_id / "logs" / "installation-1.log"
    assert size_of(log) == LOG_BYTES + len("\n[More output is not kept.]\n")


async def test_old_attempts_are_forgotten(start_local, tmp_path):
    runtime = await start_local()
    spec = make_spec("true")
    await runtime.ensure_running(spec)
    for attempt in range(1, 9):
        await runtime.ensure_installation(spec, attempt)
        await installed(runtime, spec.environment_id, attempt)
    folder = tmp_path / "data" / "environments" / spec.environment_id
    assert len(list((folder / "logs").glob("installation-*"))) == 2 * KEPT_ATTEMPTS
    assert len(list((folder / "etc" / "startup").iterdir())) == KEPT_ATTEMPTS
    assert (await runtime.installation(spec.environment_id, 8, 0)).state is InstallationState.SUCCEEDED


async def test_two_server_processes_start_one_sandbox(start_local):
    one, two = await start_local(), await start_local()
    spec = make_spec()
    await asyncio.gather(*(runtime.ensure_running(spec) for runtime in (one, two) for _ in range(4)))
    assert sandbox_of(one, spec) == sandbox_of(two, spec)
    await two.ensure_deleted(spec.environment_id)
    assert await one.observe(spec.environment_id) is ContainerState.ABSENT


async def test_nothing_is_remembered_of_what_another_process_has_removed(start_local):
    one, two = await start_local(), await start_local()
    spec = make_spec()
    await one.ensure_running(spec)
    assert await two.usage(spec.environment_id) is not None
    parts = two._parts
    assert (len(parts.watch._homes), len(parts.meter._readings), len(parts.environments._records._read)) == (1, 1, 1)
    await one.ensure_deleted(spec.environment_id)

    async def is_forgotten() -> bool:
        return not (parts.watch._homes or parts.meter._readings or parts.environments._records._read)

    await until(is_forgotten)
