"""Terminals: size, characters, several at a time, floods, clients that stop reading."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Phones
from tests.e2e.server import ServerProcess, processes_naming, wait_until
from tests.phone.client import Phone

CHARACTERS = "ä€😀漢字ñ"


def hangs(environment_id: str) -> bool:
    """Tell whether a process of the environment is stopped by a signal (proc_pid_stat(5))."""
    stats = [
        Path(f"/proc/{pid}/stat").read_text() for pid in processes_naming(f"DEVPOCKET_ENVIRONMENT_ID={environment_id}")
    ]
    return any(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


@pytest.fixture
async def environment_id(phone: Phone) -> str:
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    return str(environment_id)


async def test_a_resize_reaches_the_program(phone: Phone, environment_id: str):
    async with phone.terminal(environment_id) as terminal:
        await terminal.wait_for("welcome")
        await terminal.resize(100, 30)
        await terminal.enter('until [ "$(tput cols)" = 100 ]; do sleep 0.05; done; echo r$((99 + 1))r')
        await terminal.see("r100r")
        for size in ((0, 0), (-5, 3), (100_000, 100_000)):
            await terminal.resize(*size)
        await terminal.run("echo a$((1 + 1))b", "a2b")


async def test_a_phone_that_comes_back_and_tells_no_size_finds_its_own(phone: Phone, environment_id: str):
    async with phone.terminal(environment_id) as terminal:
        await terminal.wait_for("welcome")
        await terminal.resize(44, 21)
        await terminal.enter('until [ "$(tput cols)" = 44 ]; do sleep 0.05; done; echo s$((43 + 1))s')
        await terminal.see("s44s")
        await terminal.cut()
    async with phone.terminal(environment_id) as terminal:
        await terminal.wait_for("welcome")
        await terminal.run("stty size | sed 's/^/is:/'", "is:21 44")


async def test_characters_of_all_lengths_arrive_whole(phone: Phone, environment_id: str):
    async with phone.terminal(environment_id) as terminal:
        await terminal.wait_for("welcome")
        await terminal.press("echo '")
        for character in CHARACTERS:
            await terminal.press(character)
        await terminal.enter("' | tee ~/typed | sed 's/^/got:/'")
        await terminal.see(f"got:{CHARACTERS}")
        await terminal.enter(f"yes '{CHARACTERS}' | head -n 300; echo e$((1 + 1))e")
        await terminal.see("e2e")
        assert "�" not in terminal.raw
        # tmux cuts a flood anywhere, then draws the screen anew: all that counts is how it ends.
        await terminal.enter(f"yes '{CHARACTERS}' | head -n 20000; echo f$((1 + 1))f")
        await terminal.see(f"{CHARACTERS}f2f", patience_s=40)


async def test_two_sockets_share_one_session(phone: Phone, environment_id: str):
    async with phone.terminal(environment_id) as first, phone.terminal(environment_id) as second:
        await first.wait_for("welcome")
        await second.wait_for("welcome")
        await first.run("V=shared; echo one-$V", "one-shared")
        await second.see("one-shared")
        await second.run("echo two-$V", "two-shared")
        await first.see("two-shared")


async def test_escape_sequences_arrive_as_the_program_wrote_them(phone: Phone, environment_id: str):
    async with phone.terminal(environment_id) as terminal:
        await terminal.wait_for("welcome")
        await terminal.run(r"printf '\033[38;2;10;20;30mtrue\033[0m-colour%s\n' !", "true-colour!")
        assert "38;2;10;20;30m" in terminal.raw.replace(":", ";")
        assert "\x1b[?1049h" not in terminal.raw


async def test_the_server_answers_pings_and_survives_nonsense(phone: Phone, environment_id: str):
    async with phone.terminal(environment_id) as terminal:
        await terminal.wait_for("welcome")
        await terminal.send(type="ping", timestamp=1)
        await terminal.wait_for("pong")
        await terminal.connection.send("not json")
        await terminal.wait_for("error")
        for nonsense in ("[]", "null", '{"type":5}', '{"type":"input","data":7}', '{"type":"resize","cols":"x"}', "{}"):
            await terminal.connection.send(nonsense)
        await terminal.send(type="dance")
        await terminal.run("echo a$((1 + 1))b", "a2b")


async def test_a_key_is_echoed_at_once(phone: Phone, environment_id: str):
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("echo r$((1 + 1))y", "r2y")
        took_s = []
        for number in range(20):
            started = time.monotonic()
            await terminal.echo_of("abcdefghij"[number % 10])
            took_s.append(time.monotonic() - started)
        assert sorted(took_s)[10] < 0.25


async def test_a_client_that_stops_reading_holds_up_only_itself(phones: Phones, server: ServerProcess):
    lazy, busy = await phones(), await phones()
    lazy_home, busy_home = (await lazy.create())["id"], (await busy.create())["id"]
    await asyncio.gather(lazy.until(lazy_home, "running"), busy.until(busy_home, "running"))
    async with lazy.terminal(lazy_home) as stalled, busy.terminal(busy_home) as other:
        await other.wait_for("welcome")
        await stalled.run("echo a$((1 + 1))b", "a2b")
        memory_before = server.memory_bytes
        await stalled.enter("yes ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        await stalled.see("KLMNOPQRSTUVWXYZABCDE")
        stalled.connection.transport.pause_reading()
        for number in range(20):
            await other.run(f"echo n$(({number} + 1))n", f"n{number + 1}n", patience_s=5)
        assert server.memory_bytes - memory_before < 64 * 1024 * 1024
        stalled.connection.transport.resume_reading()
        await stalled.press("\x03")
        await stalled.run("echo b$((1 + 2))c", "b3c")


async def test_a_killed_tmux_is_made_anew(phone: Phone, environment_id: str):
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("V=old; echo r$((1 + 1))y", "r2y")
        await terminal.enter("tmux kill-server")
        await terminal.until_cleared()
        await terminal.run("echo n${V}$((1 + 1))w", "n2w")


async def test_terminals_that_hang_hold_up_no_command(phone: Phone, environment_id: str):
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("echo r$((1 + 1))y", "r2y")
        await terminal.enter("kill -STOP $(pgrep -f start-server)")
        await asyncio.to_thread(wait_until, lambda: hangs(environment_id), "the stop of tmux")
    async with AsyncExitStack() as stack:
        hanging = [await stack.enter_async_context(phone.terminal(environment_id)) for _ in range(3)]
        for terminal in hanging:
            await terminal.wait_for("welcome")
        started = time.monotonic()
        await phone.environment(environment_id)
        await phone.command(environment_id, "restart")
        assert time.monotonic() - started < 8, "each of them hangs for ten seconds"
        await phone.until(environment_id, "running", patience_s=60)
        await hanging[0].see("~/workspace", patience_s=40)
        await hanging[0].run("echo a$((1 + 1))b", "a2b")


async def test_a_big_paste_arrives_whole(phone: Phone, environment_id: str):
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("echo r$((1 + 1))y", "r2y")
        await terminal.enter("cat > ~/pasted")
        for start in range(0, 2000, 100):
            lines = "".join(f"line {number} {CHARACTERS}\n" for number in range(start, start + 100))
            await terminal.send(type="input", data=lines)
        await terminal.press("\x04")
        await terminal.run("echo w$(wc -l < ~/pasted)w$(grep -c 字ñ$ ~/pasted)w", "w2000w2000w", patience_s=40)
