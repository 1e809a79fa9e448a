"""What every runtime has to do; run over all of them, through the port alone."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from devpocket.domain.environments import ResourceLimits
from devpocket.domain.terminals import TerminalSize
from devpocket.runtime.errors import DriverError
from devpocket.runtime.port import ContainerState, InstallationState, Runtime
from tests.runtime.local_tools import installed, make_spec, read_until, until


async def test_knows_nothing_of_an_environment_that_was_never_made(runtime):
    spec = make_spec()
    assert await runtime.observe(spec.environment_id) is ContainerState.ABSENT
    assert await runtime.usage(spec.environment_id) is None
    assert list(await runtime.list_environments()) == []
    assert (await runtime.installation(spec.environment_id, 1, 0)).state is InstallationState.ABSENT


async def test_stopping_and_deleting_what_is_not_there_is_harmless(runtime):
    spec = make_spec()
    await runtime.ensure_stopped(spec.environment_id)
    await runtime.ensure_deleted(spec.environment_id)
    await runtime.ensure_installation_ended(spec.environment_id)
    assert await runtime.observe(spec.environment_id) is ContainerState.ABSENT


async def test_what_is_not_an_id_is_refused(runtime):
    with pytest.raises(DriverError):
        await runtime.ensure_running(replace(make_spec(), environment_id="../../etc"))


async def test_runs_stops_runs_again_and_keeps_the_home(runtime):
    spec = make_spec("echo kept > ~/workspace/file")
    await runtime.ensure_running(spec)
    assert await runtime.observe(spec.environment_id) is ContainerState.RUNNING
    assert list(await runtime.list_environments()) == [spec.environment_id]
    await runtime.ensure_installation(spec, 1)
    assert (await installed(runtime, spec.environment_id)).state is InstallationState.SUCCEEDED

    await runtime.ensure_stopped(spec.environment_id)
    assert await runtime.observe(spec.environment_id) is ContainerState.STOPPED
    assert await runtime.usage(spec.environment_id) is None
    with pytest.raises(DriverError):
        await runtime.attach(spec.environment_id, TerminalSize())

    await runtime.ensure_running(spec)
    again = replace(spec, startup_commands=("cat ~/workspace/file",))
    await runtime.ensure_installation(again, 2)
    assert "\nkept\n" in (await installed(runtime, spec.environment_id, 2)).text


async def test_many_starts_at_once_make_one(runtime):
    spec = make_spec()
    await asyncio.gather(*(runtime.ensure_running(spec) for _ in range(8)))
    first = await runtime.usage(spec.environment_id)
    await runtime.ensure_running(spec)
    second = await runtime.usage(spec.environment_id)
    assert first is not None
    assert second is not None
    assert 1 <= second.processes <= first.processes
    assert second.uptime_s >= first.uptime_s


async def test_delete_removes_everything_at_any_moment(runtime):
    running, stopped = make_spec("sleep 100"), make_spec()
    for spec in (running, stopped):
        await runtime.ensure_running(spec)
    await runtime.ensure_installation(running, 1)
    await runtime.ensure_stopped(stopped.environment_id)
    for spec in (running, stopped):
        await runtime.ensure_deleted(spec.environment_id)
        assert await runtime.observe(spec.environment_id) is ContainerState.ABSENT
    assert list(await runtime.list_environments()) == []


async def test_environments_outlive_the_runtime_that_started_them(make_runtime: Callable[[], Runtime]):
    spec = make_spec()
    first, second = make_runtime(), make_runtime()
    await first.start()
    await first.ensure_running(spec)
    await first.ensure_terminal(spec)
    terminal = await first.attach(spec.environment_id, TerminalSize())
    await terminal.write(b"left=beh''ind; echo s''et\n")
    await read_until(terminal, "set")
    await terminal.close()
    await first.close()

    await second.start()
    assert await second.observe(spec.environment_id) is ContainerState.RUNNING
    terminal = await second.attach(spec.environment_id, TerminalSize())
    await terminal.write(b"echo =$left=\n")
    await read_until(terminal, "=behind=")
    await terminal.close()
    await second.ensure_deleted(spec.environment_id)
    await second.close()


async def test_variables_hostname_and_user_are_the_environments_own(runtime):
    spec = make_spec(GREETING='it\'s "fine"\n$HOME', UID_LIKE="7")
    await runtime.ensure_running(spec)
    command = 'printf "%s|%s|%s|%s" "$GREETING" "$(hostname)" "$(whoami)" "$PWD"'
    await runtime.ensure_installation(replace(spec, startup_commands=(command,)), 1)
    text = (await installed(runtime, spec.environment_id)).text
    assert f'it\'s "fine"\n$HOME|{spec.hostname}|devpocket|/home/devpocket/workspace' in text


async def test_variables_may_be_named_like_those_of_a_script(runtime):
    names = ("code", "command", "files", "folder", "name", "others", "path", "result", "special", "state", "variable")
    spec = make_spec("env | grep -c '=mine$' | sed s/^/own:/", **dict.fromkeys(names, "mine"))
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)
    assert f"own:{len(names)}\n" in (await installed(runtime, spec.environment_id)).text


async def test_a_variable_that_no_process_can_be_given_is_refused(runtime):
    with pytest.raises(DriverError):
        await runtime.ensure_running(make_spec(BAD="a\0b"))


# --- installation -----------------------------------------------------------------------------------------------------


async def test_commands_run_in_order_once(runtime):
    spec = make_spec("echo one >> ~/log", "echo two >> ~/log", "cat ~/log")
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)
    progress = await installed(runtime, spec.environment_id)
    assert (progress.state, progress.step, progress.steps) == (InstallationState.SUCCEEDED, 3, 3)
    assert "one\ntwo\n" in progress.text

    await runtime.ensure_installation(spec, 1)
    again = await runtime.installation(spec.environment_id, 1, 0)
    assert again == progress


async def test_no_commands_are_done_at_once(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)
    assert (await installed(runtime, spec.environment_id)).state is InstallationState.SUCCEEDED


async def test_a_failing_command_is_named_and_the_rest_is_left_out(runtime):
    spec = make_spec("echo before", "echo last words; false\necho never", "echo not reached")
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)
    progress = await installed(runtime, spec.environment_id)
    assert progress.state is InstallationState.FAILED
    assert (progress.step, progress.steps, progress.exit_code) == (1, 3, 1)
    assert progress.failed_command == "echo last words; false\necho never"
    assert "\nlast words\n" in progress.text
    assert "\nnever\n" not in progress.text
    assert "\nnot reached\n" not in progress.text
    assert await runtime.observe(spec.environment_id) is ContainerState.RUNNING


async def test_output_comes_in_parts_that_split_no_character(runtime):
    spec = make_spec("for i in $(seq 30000); do printf 'aé✓😀'; done; printf '\\xff'")
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)
    await installed(runtime, spec.environment_id)
    text, offset = "", 0
    while (progress := await runtime.installation(spec.environment_id, 1, offset)).text:
        assert len(progress.text.encode()) <= 64 * 1024 + 8
        text, offset = text + progress.text, progress.offset
    assert text.count("aé✓😀") == 30_001  # once in the command itself
    assert text.endswith("\ufffd")
    assert text.count("\ufffd") == 1


async def test_an_installation_that_a_stop_cut_off_counts_as_absent_and_runs_again(runtime):
    spec = make_spec("echo begun >> ~/log; [ -e ~/go ] || sleep 100", "cat ~/log")
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)

    async def has_begun() -> bool:
        return "begun" in (await runtime.installation(spec.environment_id, 1, 0)).text

    await until(has_begun)
    assert (await runtime.installation(spec.environment_id, 1, 0)).state is InstallationState.RUNNING
    await runtime.ensure_stopped(spec.environment_id)
    assert (await runtime.installation(spec.environment_id, 1, 0)).state is InstallationState.ABSENT

    await runtime.ensure_running(spec)
    await runtime.ensure_installation(replace(spec, startup_commands=("echo a second time",)), 1)
    progress = await installed(runtime, spec.environment_id)
    assert progress.state is InstallationState.SUCCEEDED
    assert "a second time" in progress.text


async def test_an_installation_can_be_ended(runtime):
    spec = make_spec("true", "trap '' TERM; sleep 100 & wait; sleep 100")
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)

    async def is_at_second() -> bool:
        return bool((await runtime.installation(spec.environment_id, 1, 0)).step == 1)

    await until(is_at_second)
    await runtime.ensure_installation_ended(spec.environment_id)
    progress = await installed(runtime, spec.environment_id)
    assert progress.state is InstallationState.FAILED
    assert progress.failed_command == spec.startup_commands[1]
    await runtime.ensure_installation(spec, 1)
    assert (await runtime.installation(spec.environment_id, 1, 0)).state is InstallationState.FAILED


async def test_a_background_process_of_a_command_does_not_hold_the_installation(runtime):
    spec = make_spec("sleep 100 & echo started")
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)
    progress = await installed(runtime, spec.environment_id)
    assert progress.state is InstallationState.SUCCEEDED
    assert "\nstarted\n" in progress.text


async def test_an_installation_survives_the_runtime(make_runtime: Callable[[], Runtime]):
    spec = make_spec("until [ -e ~/go ]; do sleep 0.02; done; echo went on")
    first, second = make_runtime(), make_runtime()
    await first.start()
    await first.ensure_running(spec)
    await first.ensure_installation(spec, 1)
    await first.close()
    await second.start()
    await second.ensure_installation(spec, 1)
    assert (await second.installation(spec.environment_id, 1, 0)).state is InstallationState.RUNNING
    await second.ensure_terminal(spec)
    terminal = await second.attach(spec.environment_id, TerminalSize())
    await terminal.write(b"touch ~/go\n")
    progress = await installed(second, spec.environment_id)
    assert progress.state is InstallationState.SUCCEEDED
    assert "\nwent on\n" in progress.text
    await terminal.close()
    await second.ensure_deleted(spec.environment_id)
    await second.close()


# --- terminals --------------------------------------------------------------------------------------------------------


async def test_two_clients_share_one_session_that_stays(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    await runtime.ensure_terminal(spec)
    await runtime.ensure_terminal(spec)
    one = await runtime.attach(spec.environment_id, TerminalSize())
    two = await runtime.attach(spec.environment_id, TerminalSize(100, 40))
    await one.write(b"echo f''rom one\n")
    await read_until(two, "from one")
    await two.resize(TerminalSize(60, 20))
    # The size takes another way to tmux than what is typed.
    await two.write(b"until [ \"$(stty size)\" = '20 60' ]; do sleep 0.02; done; echo re''sized\n")
    await read_until(two, "resized")
    await one.close()
    await one.close()
    await two.write(b"echo st''ill here\n")
    await read_until(two, "still here")
    await two.close()


async def test_scrollback_comes_back_after_a_restart(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    await runtime.ensure_terminal(spec)
    terminal = await runtime.attach(spec.environment_id, TerminalSize())
    await terminal.write(b"cd /tmp; echo re''member me\n")
    await read_until(terminal, "remember me")
    await terminal.close()
    await runtime.save_terminal(spec.environment_id)
    await runtime.ensure_stopped(spec.environment_id)
    await runtime.ensure_running(spec)
    await runtime.ensure_terminal(spec)
    terminal = await runtime.attach(spec.environment_id, TerminalSize())
    await read_until(terminal, "remember me")
    await terminal.write(b"echo =$PWD=\n")
    await read_until(terminal, "=/tmp=")
    await terminal.close()


async def test_a_killed_tmux_comes_back_with_the_next_client(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    await runtime.ensure_terminal(spec)
    terminal = await runtime.attach(spec.environment_id, TerminalSize())
    await terminal.write(b"kill -9 $(ps -o ppid= -p $PPID) $PPID\n")
    async with asyncio.timeout(10):
        while await terminal.read():
            pass
    await terminal.close()
    terminal = await runtime.attach(spec.environment_id, TerminalSize())
    await terminal.write(b"echo a''live\n")
    await read_until(terminal, "alive")
    await terminal.close()


# --- figures and limits -----------------------------------------------------------------------------------------------


async def test_figures_are_measured(runtime):
    spec = make_spec("head -c 20000000 /dev/urandom > ~/data; while :; do :; done", cpu="500m")
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)

    async def has_grown() -> bool:
        usage = await runtime.usage(spec.environment_id)
        return usage is not None and usage.storage_bytes > 20_000_000 and (usage.cpu_percent or 0) > 20

    await until(has_grown)
    usage = await runtime.usage(spec.environment_id)
    assert usage.storage_percent == pytest.approx(usage.storage_bytes / 1024**3 * 100, abs=0.1)
    assert usage.memory_percent == pytest.approx(usage.memory_bytes / (512 * 1024**2) * 100, abs=0.1)
    assert 1 <= usage.processes < 20
    assert usage.uptime_s > 0


async def test_limits_change_while_it_runs(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    await runtime.ensure_running(replace(spec, limits=ResourceLimits(cpu="2", memory="1Gi", storage="2Gi")))
    usage = await runtime.usage(spec.environment_id)
    assert usage.memory_percent == pytest.approx(usage.memory_bytes / 1024**3 * 100, abs=0.1)


async def test_says_which_limits_hold(runtime):
    health = await runtime.check()
    assert set(health.limits) == {"cpu", "memory", "processes", "storage"}
    assert set(health.limits.values()) <= {"cgroup", "rlimit", "watch", "none"}
    assert health.network == "none"
