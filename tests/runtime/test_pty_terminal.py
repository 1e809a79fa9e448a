"""The pseudo-terminal: everything comes through, nothing blocks, nothing is left behind."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devpocket.domain.terminals import TerminalSize
from devpocket.runtime import pty_terminal
from devpocket.runtime.errors import DriverError
from devpocket.runtime.pty_terminal import READ_BYTES, PtyTerminal
from tests.runtime.inside import open_descriptors, process_exists, until
from tests.runtime.local_tools import children

SIZE = TerminalSize(80, 24)


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    before, others = open_descriptors(), children()
    yield
    assert open_descriptors() == before
    assert not children() - others


async def sh(script: str, preface: str | None = None) -> PtyTerminal:
    return await PtyTerminal.open(["sh", "-c", script], SIZE, preface_argv=["sh", "-c", preface] if preface else None)


async def rest(terminal: PtyTerminal) -> bytes:
    data = bytearray()
    async with asyncio.timeout(20):
        while chunk := await terminal.read():
            assert 1 <= len(chunk) <= READ_BYTES
            data += chunk
    return bytes(data)


async def until_reads(terminal: PtyTerminal, end: bytes) -> bytes:
    data = bytearray()
    async with asyncio.timeout(10):
        while not data.endswith(end):
            data += (chunk := await terminal.read())
            assert chunk, f"the terminal ended after {bytes(data)!r}"
    return bytes(data)


async def test_the_program_leads_its_own_session_on_a_terminal_of_the_size():
    terminal = await sh("stty size; test -t 0 -a -t 1 -a -t 2 && ps -o pid=,sid=,tpgid= $$; echo $TERM $X")
    size, ids, _ = (await rest(terminal)).decode().split("\r\n", 2)
    assert size == "24 80"
    process, session, foreground = ids.split()
    assert process == session == foreground
    await terminal.close()


async def test_environment_and_descriptors_are_the_given_ones_alone():
    read, write = os.pipe()
    other = os.open("/dev/null", os.O_RDONLY)
    terminal = await PtyTerminal.open(
        ["bash", "-c", f"echo passed >&{write}; env; ls /proc/self/fd | tr '\\n' ' '"],
        SIZE,
        env={"A": "b", "PATH": os.environ["PATH"]},
        pass_fds=[write],
    )
    printed = (await rest(terminal)).decode()
    assert os.read(read, 100) == b"passed\n"
    assert "A=b" in printed
    assert "HOME=" not in printed
    assert set(printed.split("\r\n")[-1].split()) == {"0", "1", "2", "3", str(write)}, "3 is what ls itself opens"
    await terminal.close()
    for descriptor in (read, write, other):
        os.close(descriptor)


async def test_output_arrives_whole_and_then_its_end():
    terminal = await sh("seq 200000; printf last")
    expected = "".join(f"{number}\r\n" for number in range(1, 200_001)).encode() + b"last"
    assert await rest(terminal) == expected
    assert await terminal.read() == b""
    await terminal.close()
    assert await terminal.read() == b""


async def test_cancelling_a_read_loses_nothing():
    terminal = await sh("stty raw -echo; printf ready; exec cat")
    await until_reads(terminal, b"ready")
    seen = bytearray()
    for number in range(100):
        reading = asyncio.create_task(terminal.read())
        await terminal.write(bytes([65 + number % 26]))
        await asyncio.sleep(0)
        if not reading.cancel() or reading.done():
            seen += await reading
            continue
        try:
            seen += await reading
        except asyncio.CancelledError:
            continue
    while len(seen) < 100:
        seen += await terminal.read()
    assert bytes(seen) == bytes(65 + number % 26 for number in range(100))
    await terminal.close()


async def test_a_reader_that_waits_is_told_of_the_close():
    terminal = await sh("echo; exec sleep 60")
    await terminal.read()
    reading = asyncio.create_task(terminal.read())
    await asyncio.sleep(0)
    await terminal.close()
    assert await reading == b""


async def test_a_program_that_reads_slowly_slows_the_writer_and_gets_everything():
    terminal = await sh(
        "stty raw -echo; printf ready; read -r go <&0 || :; cat | head -c 1000000 | sha256sum; sleep 60"
    )
    await until_reads(terminal, b"ready")
    writing = asyncio.create_task(terminal.write(b"x" * 999_999))
    longest, ticks = 0.0, 0
    while ticks < 200:
        before = time.perf_counter()
        await asyncio.sleep(0)
        longest, ticks = max(longest, time.perf_counter() - before), ticks + 1
    assert not writing.done(), "nobody has read it"
    assert longest < 0.1, "the loop was held up"
    await terminal.close()
    with pytest.raises(ConnectionError):
        await writing


_READS_LATE = """
import os, select, time
while True:
    select.select([0], [], [])
    time.sleep(0.01)  # by now all is there that comes without being waited for
    print(len(os.read(0, 4096).decode()), end=" ", flush=True)
"""


@pytest.mark.parametrize("character", ["\u00e9", "\u1ebf", "\U0001f600"])
async def test_what_waits_to_be_read_never_ends_inside_a_character(character: str):
    terminal = await sh(f"stty raw -echo; printf ready; exec {sys.executable} -c '{_READS_LATE}'")
    await until_reads(terminal, b"ready")
    typing = asyncio.create_task(terminal.write(("x" + character * 10_000).encode()))
    total, printed = 0, b""
    while total < 10_001:
        printed += (chunk := await terminal.read())
        assert chunk, "a cut character is no text, which ends the program"
        total = sum(map(int, printed.split()))
    await typing
    await terminal.close()


async def test_a_megabyte_typed_arrives_in_order_beside_other_writers():
    terminal = await sh("stty raw -echo; printf ready; exec head -c 1200000")
    await until_reads(terminal, b"ready")
    writing = asyncio.gather(*(terminal.write(letter * 400_000) for letter in (b"a", b"b", b"c")))
    assert await rest(terminal) == b"a" * 400_000 + b"b" * 400_000 + b"c" * 400_000
    await writing
    await terminal.close()


async def test_a_cancelled_writer_makes_way_for_the_next():
    terminal = await sh("stty raw -echo; printf ready; exec sleep 60")
    await until_reads(terminal, b"ready")
    writing = asyncio.create_task(terminal.write(b"x" * 1_000_000))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    other = asyncio.create_task(terminal.write(b"y" * 1_000_000))
    await asyncio.sleep(0)
    await terminal.close()
    with pytest.raises(ConnectionError):
        await other


def written_bytes(process_id: int) -> int:
    return int(re.findall(r"wchar: (\d+)", Path(f"/proc/{process_id}/io").read_text())[0])


async def test_not_reading_stops_the_program():
    terminal = await PtyTerminal.open(["seq", "1000000"], SIZE)
    process, written = terminal._child.pid, 0

    async def stands_still() -> bool:
        nonlocal written
        before, written = written, written_bytes(process)
        return before == written > 0

    await until(stands_still)
    assert written < 256 * 1024
    assert (await rest(terminal)).endswith(b"\r\n1000000\r\n")
    await terminal.close()


async def test_the_size_can_be_changed_at_any_time():
    # No trap for WINCH: it would end the read of some shells.
    terminal = await sh("stty -echo; stty size; while read -r _; do stty size; done")
    await until_reads(terminal, b"24 80\r\n")
    await terminal.resize(TerminalSize(44, 51))
    await terminal.write(b"\n")
    assert await until_reads(terminal, b"51 44\r\n") == b"51 44\r\n"
    await terminal.close()
    await terminal.resize(SIZE)


@pytest.mark.parametrize("trapped", ["HUP", "HUP TERM"])
async def test_closing_ends_a_stubborn_group(trapped: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pty_terminal, "_END_STEPS", ((0, 0.1), (signal.SIGTERM, 0.1), (signal.SIGKILL, 5.0)))
    terminal = await sh(f"trap '' {trapped}; sleep 60 & echo $$ $!; wait")
    processes = (await terminal.read()).split()
    async with asyncio.timeout(5):
        await asyncio.gather(terminal.close(), terminal.close())
    assert not any(process_exists(int(process)) for process in processes)
    await terminal.close()


async def test_cancelling_a_close_does_not_stop_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pty_terminal, "_END_STEPS", ((0, 0.2), (signal.SIGKILL, 5.0)))
    terminal = await sh("echo $$; exec env --ignore-signal=HUP sleep 60")
    process = int(await terminal.read())
    closing = asyncio.create_task(terminal.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing

    async def gone() -> bool:
        return not process_exists(process)

    await until(gone)
    await terminal.close()


async def test_a_program_that_cannot_be_run_says_so_and_ends():
    terminal = await PtyTerminal.open(["/no/such/program"], SIZE)
    assert b"/no/such/program" in await rest(terminal)
    await terminal.close()


async def test_a_program_that_draws_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pty_terminal, "FIRST_OUTPUT_S", 0.1)
    with pytest.raises(DriverError, match="does not answer"):
        await sh("exec sleep 60")


@pytest.mark.parametrize(
    ("script", "preface"), [("touch {}; exec sleep 60", "true"), ("echo; exec sleep 60", "touch {}; exec sleep 60")]
)
async def test_cancelling_the_opening_leaves_nothing(script: str, preface: str, tmp_path: Path):
    sign = tmp_path / "sign"
    opening = asyncio.create_task(sh(script.format(sign), preface=preface.format(sign)))

    async def under_way() -> bool:
        return sign.exists()

    await until(under_way)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening


async def test_the_preface_comes_first_and_is_scrolled_out_of_sight():
    terminal = await sh("printf live; exec sleep 60", preface="printf 'one\\ntwo\\n'")
    assert await until_reads(terminal, b"live") == b"\x1b[0m\rone\r\ntwo\x1b[0m\r\n" + b"\n" * 23 + b"live"
    await terminal.close()


@pytest.mark.parametrize("preface", ["true", "exit 3", "sleep 60", "/no/such"])
async def test_without_a_preface_the_screen_comes_alone(preface: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pty_terminal, "PREFACE_S", 0.2)
    terminal = await sh("printf live; exec sleep 60", preface=preface)
    assert await until_reads(terminal, b"live") == b"live"
    await terminal.close()


async def test_an_endless_preface_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pty_terminal, "PREFACE_BYTES", 100_000)
    terminal = await sh("printf live; exec sleep 60", preface="yes")
    data = await until_reads(terminal, b"live")
    assert data.count(b"y") == 50_000
    await terminal.close()
