"""What phones see of the session, one or several, coming and going."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator

import pytest

from devpocket.domain.terminals import TerminalSize
from tests.runtime.inside import Inside, Phone, an_inside, open_descriptors, process_exists, until


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    async with an_inside() as made:
        await made.ensure()
        yield made


def numbers(lines: list[str], word: str) -> list[int]:
    """Return n of each line ``word n``, in their order."""
    return [int(match[1]) for line in lines if (match := re.fullmatch(rf"{word} (\d+)", line))]


async def test_a_new_phone_gets_the_history_then_the_screen_and_no_line_twice(inside: Inside):
    await inside.type("seq -f 'line %g' 300; echo last")
    await inside.shows("last")
    for size in (TerminalSize(80, 24), TerminalSize(44, 51), TerminalSize(120, 8)):
        phone = await inside.attach(size)
        await phone.see(lambda it: it.screen[-2:] == ["last", "$"])
        assert numbers(phone.everything, "line") == list(range(1, 301))
        assert phone.everything.count("last") == 1
        assert "" not in phone.everything
        await phone.terminal.close()


async def test_without_history_there_is_the_screen_alone(inside: Inside):
    await inside.shows("$")
    await inside.tmux("set-buffer", "-b", "devpocket_history", "of another time")
    phone = await inside.attach()
    await phone.see(lambda it: it.screen == ["$"])
    assert phone.scrollback == []
    await phone.terminal.close()


async def until_ticked(phone: Phone, number: int) -> None:
    await phone.see(lambda it: numbers(it.everything, "tick")[-1] >= number)


async def test_no_line_comes_twice_when_attaching_to_a_screen_that_moves(inside: Inside):
    await inside.type("n=0; while sleep 0.01; do echo tick $((n += 1)); done")
    await inside.shows("tick 30")
    for _ in range(5):
        phone = await inside.attach()
        await phone.see(lambda it: bool(it.scrollback))
        seen = numbers(phone.everything, "tick")[-1]
        await until_ticked(phone, seen + 20)
        ticks = numbers(phone.everything, "tick")
        assert ticks == sorted(set(ticks))
        # tmux draws a client that arrives in two goes, between which a line can pass.
        assert len(ticks) >= ticks[-1] - 1
        await phone.terminal.close()


async def test_colours_of_the_history_arrive(inside: Inside):
    await inside.type("printf '\\e[38;2;1;2;3mtrue\\e[0m\\n'; seq 50; echo last")
    await inside.shows("last")
    phone = await inside.attach()
    assert b"\x1b[38;2;1;2;3mtrue\r\n\x1b[39m1\r\n" in await phone.terminal.read()
    await phone.terminal.close()


async def test_history_has_two_thousand_lines_at_most(inside: Inside):
    await inside.type("seq -f 'line %g' 5000; echo last")
    await inside.shows("last")
    phone = await inside.attach()
    await phone.see(lambda it: "last" in it.screen)
    lines = numbers(phone.everything, "line")
    assert lines == list(range(5001 - len(lines), 5001))
    assert 2000 <= len(lines) <= 2024
    await phone.terminal.close()


async def test_the_alternate_screen_stays_inside(inside: Inside):
    phone = await inside.attach()
    await phone.type("tput smcup; tput clear; echo full scr''een; tput rmcup; echo do''ne\r")
    seen = b""
    while b"done" not in seen:
        seen += await phone.terminal.read()
    assert not re.search(rb"\x1b\[\?(1049|1047|47)[hl]", seen)
    await phone.terminal.close()


async def test_a_program_cannot_write_to_the_clipboard(inside: Inside):
    phone = await inside.attach()
    await phone.type("printf '\\e]52;c;aGFybQ==\\a'; echo do''ne\r")
    seen = b""
    while b"done" not in seen:
        seen += await phone.terminal.read()
    assert b"\x1b]52" not in seen
    assert b"aGFybQ==\x07" not in seen
    await phone.terminal.close()


async def test_characters_of_all_widths_go_both_ways(inside: Inside):
    phone = await inside.attach()
    await phone.type("echo rea''dy; cat\r")
    await phone.see(lambda it: "ready" in it.screen)
    await phone.type("Tiếng Việt 你好 🎉 ß\r")
    await until_shown_twice(phone, "Tiếng Việt")
    assert "Tiếng Việt 你好 🎉 ß" in await inside.text()
    await phone.terminal.close()


async def until_shown_twice(phone: Phone, text: str) -> None:
    await phone.see(lambda it: sum(text in line for line in it.screen) == 2)


async def until_begins(phone: Phone, text: str) -> None:
    # Outside of a window that is smaller, tmux draws dots.
    await phone.see(lambda it: any(line.startswith(text) for line in it.screen))


async def until_sized(inside: Inside, size: str) -> None:
    async def sized() -> bool:
        return await inside.ask("#{window_width}x#{window_height}") == size

    await until(sized)


async def test_two_phones_share_one_screen_that_follows_the_one_used_last(inside: Inside):
    small, large = await inside.attach(TerminalSize(40, 20)), await inside.attach(TerminalSize(100, 30))
    await small.type("echo from sm''all\r")
    await asyncio.gather(*(until_begins(phone, "from small") for phone in (small, large)))
    assert await inside.ask("#{window_width}x#{window_height}") == "40x20"
    await large.type("echo from la''rge\r")
    await asyncio.gather(*(until_begins(phone, "from large") for phone in (small, large)))
    assert await inside.ask("#{window_width}x#{window_height}") == "100x30"
    await large.terminal.close()

    await until_sized(inside, "40x20")
    await small.resize(TerminalSize(50, 25))
    await until_sized(inside, "50x25")
    pane = await inside.ask("#{pane_tty}")

    async def the_program_knows() -> bool:
        return await inside.run(["stty", "-F", pane, "size"]) == (0, "25 50\n")

    await until(the_program_knows)
    await small.terminal.close()


async def test_closing_detaches_for_real_also_when_nobody_reads(inside: Inside):
    descriptors = open_descriptors()
    phones = [await inside.attach() for _ in range(3)]
    await phones[0].type("yes\r")
    await phones[1].see(lambda it: "y" in it.screen)
    processes = [int(line.split()[0]) for line in await inside.clients()]
    assert len(processes) == 3
    await asyncio.gather(*(phone.terminal.close() for phone in phones))
    assert not any(process_exists(process) for process in processes)
    assert await inside.clients() == []
    assert open_descriptors() == descriptors
    assert await inside.ask("#{session_windows}") == "1"


async def test_a_phone_that_stops_reading_holds_up_nobody_else(inside: Inside):
    idle, busy = await inside.attach(), await inside.attach()
    await busy.type("seq -f 'line %g' 200000; echo do''ne\r")
    await busy.see(lambda it: "done" in it.screen)
    await asyncio.gather(idle.terminal.close(), busy.terminal.close())


async def test_who_tells_no_size_takes_the_session_as_it_is(inside: Inside):
    new = await inside.attach_unsized()
    assert await inside.ask("#{window_width}x#{window_height}") == "80x24"
    await new.close()

    before = await inside.attach(TerminalSize(40, 20))
    await before.type("for i in {1..50}; do echo line $i; done; echo en''d\r")
    await before.see(lambda it: "end" in it.screen)
    await before.terminal.close()

    back = Phone(await inside.attach_unsized(), TerminalSize(40, 20))
    await back.see(lambda it: "end" in it.screen)
    assert await inside.ask("#{window_width}x#{window_height}") == "40x20"
    assert back.screen == before.screen
    assert [line for line in back.everything if line.startswith("line ")] == [f"line {i}" for i in range(1, 51)]
    await back.resize(TerminalSize(60, 30))
    await until_sized(inside, "60x30")
    await back.terminal.close()


async def test_detaching_by_name_takes_only_the_one_of_that_name(inside: Inside):
    first, second = await inside.attach(client="one"), await inside.attach(client="two")
    assert (await inside.run(inside.session.detach_argv("one"))) == (0, "")
    while await first.terminal.read():
        pass
    assert len(await inside.clients()) == 1
    assert (await inside.run(inside.session.detach_argv("one"))) == (0, "")
    assert (await inside.run(inside.session.detach_argv("; kill-server")))[0] == 2
    await second.type("echo still he''re\r")
    await second.see(lambda it: "still here" in it.screen)
    assert "@devpocket_client_one" not in await inside.tmux("show-options", "-g")
    await asyncio.gather(first.terminal.close(), second.terminal.close())


async def test_the_terminal_ends_when_its_user_detaches_it(inside: Inside):
    phone = await inside.attach()
    await phone.type("tmux detach-client\r")
    while await phone.terminal.read():
        pass
    with pytest.raises(ConnectionError):
        await phone.type("x")
    await phone.terminal.close()


async def test_attaching_after_the_server_was_killed_makes_the_session_anew(inside: Inside):
    await inside.tmux("rename-window", "-t", inside.target, "mine")
    await inside.save()
    phone = await inside.attach()
    await phone.type("tmux kill-server\r")
    while await phone.terminal.read():
        pass
    again = await inside.attach()
    await again.type("echo $((6*7)) alive\r")
    await again.see(lambda it: "42 alive" in it.screen)
    assert await inside.ask("#{window_name}") == "mine"
    await asyncio.gather(phone.terminal.close(), again.terminal.close())


async def test_a_megabyte_is_pasted_whole(inside: Inside):
    text = "".join(f"{number:062d}é\n" for number in range(16_000))
    phone = await inside.attach()
    await phone.type("echo rea''dy; stty -echo; cat >pasted; echo do''ne\r")
    await phone.see(lambda it: "ready" in it.screen)
    pasted = inside.home / "workspace" / "pasted"
    await phone.type(text + "\x04")
    await phone.see(lambda it: "done" in it.screen)
    assert len(text.encode()) > 1_000_000
    assert hashlib.sha256(pasted.read_bytes()).digest() == hashlib.sha256(text.encode()).digest()
    await phone.terminal.close()
