"""Whoever has locked itself out of its terminal gets back in: at once, and after a restart."""

import pytest

from devpocket.domain.terminals import TerminalSize
from devpocket.errors import UnavailableError
from tests.runtime.local_tools import inside, make_spec, outcome, read_until, until


@pytest.fixture
async def runtime(start_local):
    return await start_local()


@pytest.mark.parametrize(
    "damage",
    [
        "chmod 000 ~",
        "chmod 000 ~/.tmux",
        "chmod 555 ~/.tmux",
        "chmod 000 ~/.tmux/tmux.sock",
        "mv ~/.tmux ~/.old; ln -s /etc ~/.tmux",
    ],
)
async def test_a_terminal_that_was_locked_is_there_again(runtime, damage):
    spec = make_spec()
    await runtime.ensure_running(spec)
    await runtime.ensure_terminal(spec)
    assert (await outcome(runtime, spec, damage))[0] == 0
    for _ in range(2):
        terminal = await runtime.attach(spec.environment_id, TerminalSize())
        await terminal.write(b"echo a$((1 + 1))b\r")
        await read_until(terminal, "a2b")
        await terminal.close()
        await runtime.ensure_stopped(spec.environment_id)
        await runtime.ensure_running(spec)
        await runtime.ensure_terminal(spec)


async def test_a_terminal_that_is_killed_while_it_starts_may_be_tried_again(runtime):
    killer = "kill -9 -1; echo kills; while :; do kill -9 -1; done"
    spec = make_spec(f"setsid bash -c '{killer}' & wait")
    await runtime.ensure_running(spec)
    await runtime.ensure_installation(spec, 1)

    async def kills() -> bool:
        return "kills\n" in (await runtime.installation(spec.environment_id, 1, 0)).text

    await until(kills)
    with pytest.raises(UnavailableError):
        await runtime.ensure_terminal(spec)


async def test_a_folder_elsewhere_may_be_the_terminals_own(runtime):
    spec = make_spec()
    await runtime.ensure_running(spec)
    await inside(runtime, spec, "mkdir ~/dotfiles && ln -s dotfiles ~/.tmux")
    await runtime.ensure_terminal(spec)
    assert (
        await inside(runtime, spec, "readlink ~/.tmux; [ -S ~/dotfiles/tmux.sock ] && echo there") == "dotfiles\nthere"
    )
