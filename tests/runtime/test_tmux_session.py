"""Making the session exist, with whatever is found in the home, and keeping it."""

import asyncio
import os
import re
from collections.abc import AsyncIterator

import pytest

from devpocket.ids import EnvironmentId
from devpocket.runtime.tmux import TmuxSession, files
from tests.runtime.inside import Inside, an_inside, until


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    async with an_inside() as made:
        yield made


def test_names_and_places_inside_an_environment():
    session = TmuxSession(EnvironmentId("0123456789abcdef01234567"))
    assert session.name == "devpocket_0123456789abcdef01234567"
    assert session.socket == "/home/devpocket/.tmux/tmux.sock"
    assert session.attach_argv()[2] == "/etc/devpocket/terminal-attach.sh"
    assert session.ensure_argv(["A", "B"])[-2:] == ["A", "B"]


def test_every_script_that_is_called_is_among_the_files():
    session = TmuxSession(EnvironmentId("x"), files="")
    called = [
        session.ensure_argv(),
        session.attach_argv(),
        session.history_argv(),
        session.save_argv(),
        session.list_clients_argv(),
        session.detach_argv("a"),
    ]
    scripts = {argument.removeprefix("/") for argv in called for argument in argv if argument.endswith(".sh")}
    assert len(scripts) == len(called)
    assert {*scripts, "tmux.conf"} <= set(files())


async def test_a_fresh_session_is_a_login_shell_in_the_workspace(inside: Inside):
    await inside.ensure()
    await inside.type("shopt -q login_shell && echo login; echo $TERM $COLORTERM $LANG; pwd")
    await inside.shows("login")
    await inside.shows("tmux-256color truecolor C.UTF-8")
    await inside.shows(str(inside.home / "workspace"))


@pytest.fixture
def path_shell(inside: Inside) -> None:
    """Have a shell that shows its PATH before anything can change it."""
    shell = inside.home / "shell"
    shell.write_text('#!/bin/bash\necho "=${PATH//$HOME/HOME}="\nexec /bin/bash --norc --noprofile\n')
    shell.chmod(0o755)
    inside.variables["SHELL"] = str(shell)


@pytest.mark.usefixtures("path_shell")
async def test_every_window_has_the_path_of_the_environment_and_nothing_before_it(inside: Inside):
    inside.variables["PATH"] = f"{inside.home}/.venv/bin:/usr/bin:/bin"
    path, other = "=HOME/.venv/bin:/usr/bin:/bin=", f"{inside.target}other"
    await inside.ensure()
    await inside.shows(path)
    await inside.type("tmux new-window -d -n other")

    async def is_there() -> bool:
        return "other" in await inside.tmux("list-windows", "-t", inside.target, "-F", "#{window_name}")

    await until(is_there)
    await inside.shows(path, other)
    assert await inside.run(inside.session.save_argv()) == (0, "")
    await inside.tmux("kill-server")
    await inside.ensure()
    for window in (inside.target, other):

        async def has_said_it_anew(window: str = window) -> bool:
            return (await inside.text(window)).count(path) == 2  # the first is what was saved

        await until(has_said_it_anew)


@pytest.mark.usefixtures("path_shell")
async def test_a_useless_path_costs_no_terminal(inside: Inside):
    inside.variables["PATH"] = "/nowhere"
    process = await asyncio.create_subprocess_exec(*inside.session.ensure_argv(), env=inside.variables)
    assert await process.wait() == 0
    inside.variables["PATH"] = os.environ["PATH"]
    await inside.shows("=/nowhere=")


async def test_variables_that_bash_has_uses_for_cost_no_terminal(inside: Inside):
    for name in ("BASH_SOURCE", "BASH_ENV", "FUNCNAME", "IFS", "SHELLOPTS", "PROMPT_COMMAND"):
        inside.variables[name] = "x"
    await inside.ensure("BASH_SOURCE", "IFS")
    await inside.type("echo a$((1 + 1))live")
    await inside.shows("a2live")


async def test_variables_named_like_those_of_the_scripts_stay_as_they_are(inside: Inside):
    scripts = b"\n".join(files().values()).decode()
    names = set(re.findall(r"\b([a-z_]+)\+?=", scripts)) | set(re.findall(r"\bfor ([a-z_]+) in", scripts))
    assert {"session", "state", "path", "pair", "process"} <= names
    inside.variables |= dict.fromkeys(names, "mine")
    await inside.ensure(*names)
    await inside.tmux("new-window", "-t", inside.target, "-n", "other")
    for window in ("0", "other"):
        target = f"{inside.target}{window}"
        await inside.type("clear; env | grep -c '=mine$'", target)
        await inside.shows(str(len(names)), target)
    await inside.restart()
    await inside.type("clear; env | grep -c '=mine$'; echo d$((1 + 1))ne")
    await inside.shows("d2ne")
    assert str(len(names)) in await inside.text()


async def test_ensuring_at_the_same_time_and_again_makes_one_session_with_one_window(inside: Inside):
    await asyncio.gather(*(inside.ensure() for _ in range(4)))
    await inside.ensure()
    assert await inside.tmux("list-windows", "-a", "-F", "#{session_name}") == inside.session.name


@pytest.mark.parametrize("number", [10, 254, 255])
async def test_the_server_of_tmux_inherits_nothing(inside: Inside, number: int):
    """Whatever its number: bash likes to read its script through 255, and takes another where that is open."""
    read, write = os.pipe()
    opened = f'exec {number}>&{write} {write}>&-; exec "$@"'
    process = await asyncio.create_subprocess_exec(
        *["bash", "-c", opened, "bash", *inside.session.ensure_argv()], env=inside.variables, pass_fds=[read, write]
    )
    assert await process.wait() == 0
    os.close(write)
    os.set_blocking(read, False)
    assert os.read(read, 1) == b"", "somebody still holds the other end"
    os.close(read)


async def test_variables_reach_new_windows_as_they_are(inside: Inside):
    await inside.ensure()
    inside.variables |= {"GREETING": 'it\'s\n$HOME #{pane_id} ~ \\n "x"; é', "OTHER": "2"}
    await inside.ensure("GREETING", "ABSENT", "not a name")
    await inside.tmux("new-window", "-t", inside.target)
    await inside.type("printf '%q\\n' \"$GREETING\"; echo ${OTHER-none}")
    await inside.shows("$'it\\'s\\n$HOME #{pane_id} ~ \\\\n \"x\"; é'")
    await inside.shows("none")


async def test_variables_that_are_gone_reach_no_new_window(inside: Inside):
    inside.variables |= {"GREETING": "hello", "OTHER": "2"}
    await inside.ensure("GREETING", "OTHER")
    del inside.variables["GREETING"]
    for named in (("OTHER",), ("OTHER",)):  # the second time nothing is left to be forgotten
        await inside.ensure(*named)
        assert await inside.tmux("show-environment", "-g", "OTHER") == "OTHER=2"
        assert "GREETING" not in await inside.tmux("show-environment", "-g")
    del inside.variables["OTHER"]
    await inside.ensure()
    assert "OTHER" not in await inside.tmux("show-environment", "-g")


async def test_the_first_shell_sees_the_variables(inside: Inside):
    inside.variables |= {"GREETING": "hello"}
    await inside.ensure("GREETING")
    await inside.type("echo $GREETING you")
    await inside.shows("hello you")


async def test_the_end_of_the_last_shell_brings_up_a_fresh_one_every_time(inside: Inside):
    await inside.ensure()
    phone = await inside.attach()
    for turn in range(3):
        await phone.type(f"cd /tmp; echo turn $(({turn})); exit\r")
        await inside.shows(f"turn {turn}")
        await phone.see(lambda it: it.screen[-1] == "$")
    await phone.type("shopt -q login_shell && echo login in $PWD\r")
    await phone.see(lambda it: f"login in {inside.home}/workspace" in it.everything)
    assert "turn 0" in phone.everything, "what the last shell left is still there"
    await phone.terminal.close()


async def test_the_end_of_another_shell_closes_its_pane(inside: Inside):
    await inside.ensure()
    await inside.tmux("split-window", "-t", inside.target)
    await inside.tmux("new-window", "-t", inside.target)
    await inside.type("exit")
    await inside.type("exit", f"{inside.target}0")

    async def alone() -> bool:
        return await inside.ask("#{session_windows} #{window_panes}") == "1 1"

    await until(alone)


async def test_a_shell_that_ends_at_once_is_replaced_by_one_in_which_that_can_be_mended(inside: Inside):
    (inside.home / ".profile").write_text("exit 1\n")
    await inside.ensure()
    await inside.shows("Your login shell ends as soon as it starts. This one reads no start files:")
    await inside.type("echo $((6*7))")
    await inside.shows("42")


async def test_the_users_own_configuration_is_read(inside: Inside):
    (inside.home / ".tmux.conf").write_text("set -g base-index 5\nset -g prefix C-a\n")
    await inside.ensure()
    assert await inside.ask("#{window_index} #{prefix}") == "5 C-a"


@pytest.mark.parametrize(
    "text", ["run-shell 'sleep 6'\n", "no-such-command\n", "{", "kill-server\n", "set -g default-shell /no\n"]
)
async def test_a_bad_configuration_of_the_user_does_not_prevent_the_start(inside: Inside, text: str):
    (inside.home / ".tmux.conf").write_text(text)
    async with asyncio.timeout(5):
        await inside.ensure()
    assert await inside.ask("#{session_name}") == inside.session.name


@pytest.mark.parametrize("what", ["file", "link", "fifo"])
async def test_something_else_in_the_place_of_the_folder_is_moved_aside(inside: Inside, what: str):
    match what:
        case "file":
            inside.state.write_text("precious")
        case "link":
            inside.state.symlink_to("/nowhere")
        case _:
            os.mkfifo(inside.state)
    await inside.ensure()
    assert len(list(inside.home.glob(".tmux.aside.*"))) == 1


async def test_something_else_in_the_place_of_the_socket_is_moved_aside(inside: Inside):
    (inside.state / "tmux.sock").mkdir(parents=True)
    await inside.ensure()
    assert await inside.ask("#{session_name}") == inside.session.name


async def test_a_socket_without_a_server_is_used_again(inside: Inside):
    await inside.ensure()
    process_id = int(await inside.ask("#{pid}"))
    os.kill(process_id, 9)

    async def gone() -> bool:
        return (await inside.run(["tmux", "-S", inside.session.socket, "list-sessions"]))[0] != 0

    await until(gone)
    assert (inside.state / "tmux.sock").is_socket()
    await inside.ensure()
    assert int(await inside.ask("#{pid}")) != process_id


async def test_no_key_belongs_to_tmux(inside: Inside):
    await inside.ensure()
    phone = await inside.attach()
    await phone.type("echo ready; cat -v\r")
    await phone.see(lambda it: "ready" in it.screen)
    await phone.type("\x02c\x02d\x01\x1bx\x1b[15~\r")
    await phone.see(lambda it: "^Bc^Bd^A^[x^[[15~" in it.screen)
    assert await inside.ask("#{session_windows} #{session_attached}") == "1 1"
    await phone.terminal.close()
