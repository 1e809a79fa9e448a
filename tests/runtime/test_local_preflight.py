"""What the local runtime says when this machine cannot hold environments, and how it does without walls."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from devpocket.domain.terminals import TerminalSize
from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.ids import EnvironmentId
from devpocket.runtime.local import bubblewrap, preflight
from devpocket.runtime.local.bubblewrap import find_bubblewrap, hidden_below_system
from devpocket.runtime.local.cgroups import CgroupsV2, GroupLimits, find_cgroups
from devpocket.runtime.local.layout import Layout
from devpocket.runtime.local.uids import SLOTS, UidPool, choose_base
from devpocket.runtime.port import ContainerState, InstallationState
from devpocket.settings import LocalNetwork, LocalSandbox, load_settings
from tests.runtime.local_tools import inside, installed, living, make_spec, read_until, until

ID, OTHER = EnvironmentId("0" * 24), EnvironmentId("1" * 24)


async def test_a_missing_bubblewrap_is_named_with_the_command(start_local, monkeypatch):
    def absent(_):
        raise FileNotFoundError("bwrap")

    monkeypatch.setattr(bubblewrap, "_ask", absent)
    with pytest.raises(ConfigurationError, match="apt-get install bubblewrap") as refusal:
        await start_local()
    assert "LOCAL_SANDBOX=none" in str(refusal.value)


async def test_a_bubblewrap_that_is_too_old_is_refused(monkeypatch):
    monkeypatch.setattr(
        bubblewrap, "_ask", lambda option: "bubblewrap 0.3" if option == "--version" else "--proc --dev"
    )
    with pytest.raises(ConfigurationError, match=r"bubblewrap 0\.3 is too old"):
        find_bubblewrap()


async def test_missing_tools_are_all_named(start_local, monkeypatch):
    real = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, **more: None if name in {"tmux", "nsenter"} else real(name, **more)
    )
    with pytest.raises(ConfigurationError, match=r"nsenter, tmux is missing: apt-get install tmux util-linux"):
        await start_local()


async def test_a_machine_that_forbids_user_namespaces_is_told_what_to_set(start_local, monkeypatch, tmp_path):
    knob = tmp_path / "apparmor_restrict_unprivileged_userns"
    knob.write_text("1\n")
    monkeypatch.setattr(preflight, "_NAMESPACE_HINTS", {str(knob): ("1", "sysctl some.knob=0")})
    monkeypatch.setattr(bubblewrap, "INSIDE_UID", "not-a-uid")
    with pytest.raises(ConfigurationError, match=r"cannot be started here.*; try: sysctl some\.knob=0"):
        await start_local()
    assert list((tmp_path / "data" / "trash").iterdir()) == []


async def test_nothing_can_be_done_before_the_start(start_local):
    runtime = await start_local()
    await runtime.close()
    with pytest.raises(UnavailableError):
        await runtime.observe(make_spec().environment_id)


# --- LOCAL_SANDBOX=none ---------------------------------------------------------------------------------------------


@pytest.fixture
def short_dir():
    """A folder with a short path that everybody can walk to."""
    with tempfile.TemporaryDirectory(prefix="dp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def test_without_walls_a_long_path_is_refused(start_local, tmp_path):
    with pytest.raises(ConfigurationError, match="DATA_DIR is too long"):
        await start_local(data_dir=tmp_path / ("x" * 100), sandbox=LocalSandbox.NONE, network=LocalNetwork.HOST)


async def test_without_walls_it_warns_and_works(short_dir, start_local):
    data_dir = short_dir / "d"
    data_dir.mkdir(mode=0o700)  # as the server makes it
    bare = await start_local(data_dir=data_dir, sandbox=LocalSandbox.NONE, network=LocalNetwork.HOST)
    assert "LOCAL_SANDBOX=none" in (await bare.check()).warnings[0]
    spec = make_spec("echo $HOME; pwd", GREETING="hello")
    await bare.ensure_running(spec)
    await bare.ensure_terminal(spec)
    await bare.ensure_installation(spec, 1)
    progress = await installed(bare, spec.environment_id)
    home = data_dir / "environments" / spec.environment_id / "home"
    assert progress.state is InstallationState.SUCCEEDED
    assert f"\n{home}\n{home}/workspace\n" in progress.text
    terminal = await bare.attach(spec.environment_id, TerminalSize())
    await terminal.write(b"echo =$GREETING=; setsid sleep 1000 &\n")
    await read_until(terminal, "=hello=")
    await terminal.close()
    usage = await bare.usage(spec.environment_id)
    assert usage.processes >= 3
    assert usage.network_sent_bytes is None

    await bare.ensure_stopped(spec.environment_id)
    assert await bare.observe(spec.environment_id) is ContainerState.STOPPED
    assert living(spec.environment_id.encode()) == []
    await bare.ensure_running(spec)
    assert (await inside(bare, spec, "id -u")) != "0"
    await bare.ensure_deleted(spec.environment_id)

    async def is_gone() -> bool:
        return living(spec.environment_id.encode()) == []

    await until(is_gone)
    assert not home.exists()


# --- what is given away ---------------------------------------------------------------------------------------------


def test_uids_are_claimed_once_and_given_back(tmp_path):
    layout = Layout(tmp_path)
    layout.create()
    pool = UidPool(layout.uids, 2_000_000_000)
    first = pool.claim(ID)
    assert pool.claim(ID) == first
    if pool.spare == os.getuid():
        pytest.skip("an ordinary user has one uid to give away")
    assert pool.claim(OTHER) == first + 1
    assert pool.holders() == {ID, OTHER}
    pool.release(first, OTHER)
    assert pool.claim(ID) == first
    pool.release_all(ID)
    assert pool.holders() == {OTHER}
    assert UidPool(layout.uids, 2_000_000_000).claim(ID) == first
    assert pool.spare == first + SLOTS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives uids away")
def test_a_file_that_is_no_claim_is_nobodys(tmp_path):
    (tmp_path / "2000000000").touch()
    pool = UidPool(tmp_path, 2_000_000_000)
    assert pool.holders() == set()
    assert pool.claim(ID) == 2_000_000_001
    assert pool.holders() == {ID}
    pool.release_all(ID)
    assert [path.name for path in tmp_path.iterdir()] == ["2000000000"]


def test_a_range_of_uids_that_does_not_exist_is_refused():
    with pytest.raises(ConfigurationError, match="LOCAL_UID_BASE"):
        choose_base(2**32 - 10)


@pytest.mark.parametrize(("uid_map", "base"), [("0 0 4294967295", 2_000_000_000), ("0 100000 65536", 40_000)])
def test_without_a_word_uids_come_from_a_range_that_exists(monkeypatch, uid_map, base):
    monkeypatch.setattr(Path, "read_text", lambda _: f"{uid_map}\n")
    assert choose_base(load_settings(environ={}, dotenv=None).runtime.uid_base) == base


def test_only_paths_that_environments_would_see_are_covered(tmp_path):
    assert hidden_below_system([tmp_path, Path("/usr/share"), Path("/usr/absent"), Path("/home")]) == [
        Path("/usr/share")
    ]


# --- control groups of version 2, on folders that stand for them ----------------------------------------------------


def unified(tmp_path, controllers="cpu memory pids io"):
    """Folders as on a machine with version 2, this process in ``/user/session``; the kernel's files are plain ones."""
    root = tmp_path / "cgroup"
    for folder in (root, root / "user", root / "user/session"):
        folder.mkdir()
        for name, content in {
            "cgroup.controllers": controllers,
            "cgroup.procs": "",
            "cgroup.subtree_control": "",
        }.items():
            (folder / name).write_text(content)
    return root, f"cgroup2 {root} cgroup2 rw,nosuid 0 0\n", "0::/user/session\n"


@pytest.fixture
def kernel(monkeypatch):
    """Does what the kernel does when a group is made and when its subtree_control is written."""
    make, write = Path.mkdir, Path.write_text

    def mkdir(self, *arguments, **options):
        make(self, *arguments, **options)
        if "cgroup" in self.parts:
            for name in ("cgroup.controllers", "cgroup.procs", "cgroup.subtree_control", "cgroup.type"):
                (self / name).touch()

    def write_text(self, data, *arguments, **options):
        if self.name == "cgroup.subtree_control" and self.exists():
            data = " ".join(sorted({*self.read_text().split(), *data.replace("+", "").split()}))
        return write(self, data, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "write_text", write_text)


@pytest.mark.parametrize("place", ["", "user"])
def test_version_2_gets_a_tree_of_its_own_as_high_as_allowed(tmp_path, kernel, place):
    root, mounts, own = unified(tmp_path)
    if place:
        (root / "cgroup.procs").unlink()
    groups = find_cgroups(tmp_path / "data", mounts, own)
    assert isinstance(groups, CgroupsV2)
    assert groups.controllers == {"cpu", "memory", "pids"}
    (folder,) = groups.ensure(ID, GroupLimits(cpu_millis=500, memory_bytes=1024, processes=7))
    assert Path(folder).parent.parent == root / place
    assert (Path(folder) / "cpu.max").read_text() == "50000 100000"
    assert (Path(folder) / "memory.max").read_text() == "1024"
    assert (Path(folder) / "memory.swap.max").read_text() == "0"
    assert (Path(folder) / "pids.max").read_text() == "7"
    assert groups.left_over() == {ID}
    (Path(folder) / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (Path(folder) / "memory.current").write_text("1000\n")
    (Path(folder) / "memory.stat").write_text("anon 5\ninactive_file 400\n")
    assert groups.cpu_s(ID) == 1.5
    assert groups.memory_bytes(ID) == 600


def test_version_2_without_controllers_or_rights_is_none(tmp_path, kernel):
    _, mounts, own = unified(tmp_path, controllers="hugetlb")
    groups = find_cgroups(tmp_path / "data", mounts, own)
    assert groups.controllers == frozenset()
    assert groups.ensure(ID, GroupLimits(500, 1024, 7)) == ()
    assert groups.cpu_s(ID) is None
    assert groups.memory_bytes(ID) is None
    assert groups.remove(ID)


def test_a_machine_without_control_groups_is_none(tmp_path):
    assert find_cgroups(tmp_path, "", "").controllers == frozenset()
