"""What a person in a local environment cannot see or do."""

import os
import re
from pathlib import Path

import pytest

from devpocket.runtime.local.bubblewrap import find_bubblewrap
from tests.runtime.local_tools import (
    command_line,
    inside,
    living,
    make_spec,
    on_host,
    outcome,
    own_namespace,
    sandbox_of,
    uids_of,
    until,
)

SOURCES = Path(__file__).parents[2]


@pytest.fixture
async def runtime(start_local):
    return await start_local(hidden_paths=(Path("/usr/share/doc"), Path("/usr/bin/tac")))


@pytest.fixture
async def spec(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    return spec


async def test_is_an_ordinary_user_without_any_capability(runtime, spec):
    status = await inside(runtime, spec, "id -u; id -g; id -Gn; cat /proc/self/status")
    uid, gid, groups, *lines = status.splitlines()
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert (uid, gid, groups) == ("1000", "1000", "devpocket")
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[name], 16) == 0
    assert fields["NoNewPrivs"] == "1"


async def test_is_never_the_servers_root_on_the_host(runtime, spec):
    await runtime.ensure_terminal(spec)
    environments = runtime._parts.environments
    uids = uids_of(environments._find(spec.environment_id, sandbox_of(runtime, spec)))
    assert uids == {environments.record(spec.environment_id).uid}
    assert 0 not in uids


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give away uids")
async def test_each_environment_has_a_host_uid_of_its_own(runtime, spec):
    other = make_spec()
    await runtime.ensure_running(other)
    records = [runtime._parts.environments.record(one.environment_id) for one in (spec, other)]
    assert records[0].uid != records[1].uid
    await runtime.ensure_deleted(other.environment_id)
    third = make_spec()
    await runtime.ensure_running(third)
    assert runtime._parts.environments.record(third.environment_id).uid == records[1].uid


async def test_is_in_namespaces_of_its_own(runtime, spec):
    kinds = ("mnt", "pid", "ipc", "uts", "user", "net")
    names = (await inside(runtime, spec, f"cd /proc/self/ns; readlink {' '.join(kinds)}")).split()
    assert len(names) == len(kinds)
    for kind, name in zip(kinds, names, strict=True):
        assert name != own_namespace(kind)


async def test_what_led_inside_is_closed_there(runtime, spec):
    assert (await inside(runtime, spec, "ls /proc/self/fd")).split() == ["0", "1", "2", "3"]
    targets = set((await inside(runtime, spec, "readlink /proc/1/fd/*")).split())
    assert {target for target in targets if not target.startswith("pipe:")} == {"/dev/null", "/etc/devpocket/init"}


async def test_sees_no_other_process_and_none_of_the_servers_settings(runtime, spec, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "must-not-be-seen")
    text = await inside(runtime, spec, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'; ls /proc")
    assert "must-not-be-seen" not in text
    assert "pytest" not in text
    assert str(Path.cwd()) not in text.splitlines() + [line.partition("=")[2] for line in text.splitlines()]
    assert str(os.getpid()) not in text.split() or os.getpid() < 100
    assert "PYTEST_CURRENT_TEST" not in await inside(runtime, spec, "env")


async def test_files_of_the_host_are_not_there(runtime, spec):
    paths = "/etc/shadow /etc/ssh /etc/sudoers /root /opt /srv /var/lib /var/log /sys/kernel /boot /mnt /media"
    text = await inside(runtime, spec, f'for path in {paths}; do ls -A $path 2>/dev/null | sed "s:^:$path :"; done')
    assert text == ""


async def test_the_servers_data_and_other_homes_are_not_there(runtime, spec, tmp_path):
    other = make_spec()
    await runtime.ensure_running(other)
    await inside(runtime, other, "echo private > ~/note")
    data = tmp_path / "data"
    assert on_host(data, "environments", other.environment_id, "home/note")
    for path in (data, tmp_path, SOURCES, data / "environments" / other.environment_id):
        assert (await outcome(runtime, spec, f"ls {path}"))[0] != 0
    assert "note" not in await inside(runtime, spec, "find / -xdev -name note 2>/dev/null; ls /home")
    assert await inside(runtime, spec, "ls /home") == "devpocket"


async def test_paths_of_the_server_below_the_system_are_covered(runtime, spec):
    assert await inside(runtime, spec, "ls -A /usr/share/doc 2>/dev/null | wc -l") == "0"
    assert (await outcome(runtime, spec, "touch /usr/share/doc/x"))[0] != 0
    assert await inside(runtime, spec, "wc -c < /usr/bin/tac || true") in {
        "",
        "0",
        "bash: line 1: /usr/bin/tac: Permission denied",
    }


async def test_the_system_is_read_only(runtime, spec):
    paths = "/ /usr /usr/bin /etc /etc/devpocket /etc/ssl /dev /home /var /lib /proc/sys/kernel"
    text = await inside(runtime, spec, f"for path in {paths}; do touch $path/x 2>/dev/null && echo $path; done; true")
    assert text == ""
    assert (await outcome(runtime, spec, "rm /etc/devpocket/launch || echo > /etc/devpocket/launch"))[0] != 0


async def test_scratch_folders_are_private_and_bounded(runtime, spec):
    other = make_spec()
    await runtime.ensure_running(other)
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run/user/1000"):
        await inside(runtime, spec, f"echo x > {folder}/mine && [ -x {folder} ]")
        assert (await outcome(runtime, other, f"ls {folder}/mine"))[0] != 0
        assert not on_host(folder, "mine")
        size = int((await inside(runtime, spec, f"df --output=size -B1 {folder} | tail -1")).strip())
        assert 0 < size <= 512 * 1024**2


async def test_gains_nothing_by_setuid_programs_namespaces_or_mounts(runtime, spec):
    assert "1000" in await inside(runtime, spec, "cp /bin/bash ~/b && chmod 4755 ~/b && ~/b -p -c 'id -u'")
    for command in (
        "mount -t tmpfs none /tmp",
        "unshare --mount true",
        "su -c true",
        "chroot / true",
        "mknod ~/d b 8 0",
    ):
        assert (await outcome(runtime, spec, f"{command} </dev/null"))[0] != 0, command
    assert (await outcome(runtime, spec, "nsenter --target 1 --mount true"))[0] != 0
    if find_bubblewrap().forbids_namespaces:
        assert (await outcome(runtime, spec, "unshare --user true"))[0] != 0


async def test_nothing_outside_can_be_signalled_or_traced(runtime, spec):
    script = f"kill -9 {os.getpid()} {os.getppid()}; kill -9 -1; echo over"
    await outcome(runtime, spec, script)
    assert on_host("/proc", str(os.getpid()))
    assert on_host("/proc", str(os.getppid()))


async def test_kill_minus_one_leaves_the_environment_running(runtime, spec):
    await runtime.ensure_terminal(spec)
    before = sandbox_of(runtime, spec).init
    for number in ("9", "15", "1"):
        await outcome(runtime, spec, f"kill -{number} -1")
    assert before.is_alive
    await runtime.ensure_terminal(spec)
    assert "fine" in await inside(runtime, spec, "echo fine")


async def test_hostile_variables_run_nothing_outside(runtime, tmp_path):
    trap = tmp_path / "trap"
    variables = {"BASH_ENV": f"/proc/self/cwd/{trap}", "ENV": str(trap), "LD_PRELOAD": "/home/devpocket/evil.so"}
    spec = make_spec(**variables, PATH="/home/devpocket/evil:/usr/bin:/bin", HOME="/etc", IFS="x", SHELLOPTS="xtrace")
    await runtime.ensure_running(spec)
    text = await inside(runtime, spec, "echo $HOME; mkdir -p ~/evil; printf '#!/bin/sh\\necho evil' > ~/evil/nsenter")
    assert "/home/devpocket" in text
    await inside(runtime, spec, "chmod +x ~/evil/nsenter; true")
    assert "fine" in await inside(runtime, spec, "echo fine")
    await runtime.ensure_terminal(spec)


async def test_variables_arrive_whatever_their_names(runtime):
    odd = {"with.dots": "8", "BASHPID": "9", "LC_ALL": "xx", "UID": "7", "A": "", "lines": "one\n\ntwo"}
    spec = make_spec(**odd)
    await runtime.ensure_running(spec)
    argv = ["cat", "/proc/self/environ"]
    result = await runtime._parts.environments.run_inside(spec.environment_id, argv, deadline_s=10.0)
    variables = dict(entry.split("=", 1) for entry in result.output.decode().split("\0") if entry)
    assert odd.items() <= variables.items()
    assert (await inside(runtime, spec, "echo fine")).endswith("fine")


async def test_variables_do_not_show_in_the_process_table_of_the_host(runtime):
    spec = make_spec(API_KEY="sk-not-for-others")
    await runtime.ensure_running(spec)
    assert await inside(runtime, spec, "echo $API_KEY") == "sk-not-for-others"
    await runtime.ensure_terminal(spec)
    for pid in living(b"sk-not-for-others"):
        assert b"sk-not-for-others" not in command_line(pid)


async def test_processes_whose_parents_ended_are_collected(runtime, spec):
    await inside(runtime, spec, "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done")

    async def are_collected() -> bool:
        # A zombie has a name, too.
        return await inside(runtime, spec, "ps -e -o comm= | grep -c sleep || true") == "0"

    await until(are_collected)
    assert "Z" not in await inside(runtime, spec, "ps -e -o stat= | tr '\\n' ' '")


async def test_a_new_home_has_what_a_new_user_gets(runtime, spec):
    assert await inside(runtime, spec, "readlink /workspace; cd /workspace && pwd -P; stat -c %a ~") == (
        "/home/devpocket/workspace\n/home/devpocket/workspace\n700"
    )
    for name in (".bashrc", ".profile"):
        if on_host("/etc/skel", name):
            await inside(runtime, spec, f"[ -f ~/{name} ]")


async def test_the_prompt_leaves_room_on_the_screen_of_a_phone(runtime, spec):
    show = "cd ~/workspace; mkdir -p a/b/c/d; cd a/b/c/d; bash -i -c 'echo \"${PS1@P}\"' 2>/dev/null"
    prompt = re.sub(r"\x1b\[[0-9;]*m|[\x01\x02]", "", await inside(runtime, spec, show))
    assert prompt == "~/.../c/d$"


async def test_a_login_shell_keeps_the_path_of_the_environment(runtime):
    spec = make_spec(PATH="/home/devpocket/go/bin:/usr/bin:/bin")
    await runtime.ensure_running(spec)
    assert "/home/devpocket/go/bin" in await inside(runtime, spec, "bash -l -c 'echo $PATH'")
