"""What is saved comes back, once; what is broken does not keep a session from starting."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.runtime.inside import Inside, an_inside, until


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    async with an_inside() as made:
        await made.ensure()
        yield made


PANE = "#{window_index}.#{pane_index} #{pane_active} #{window_zoomed_flag} #{pane_width}x#{pane_height}"


async def test_windows_names_layout_and_directories_come_back(inside: Inside):
    for name in ("a b", "c#d", "#(id)"):
        (inside.home / name).mkdir()
    await inside.tmux("rename-window", "-t", inside.target, "edit #{pid} #[fg=red] 'x\"")
    await inside.tmux("split-window", "-h", "-l", "20", "-t", inside.target, "-c", str(inside.home / "a b"))
    await inside.tmux("split-window", "-v", "-t", inside.target, "-c", str(inside.home / "c##d"))
    await inside.tmux("new-window", "-t", f"{inside.target}7", "-n", "tests", "-c", "/usr")
    await inside.tmux("split-window", "-t", inside.target, "-c", str(inside.home / "##(id)"))
    await inside.tmux("resize-pane", "-Z", "-t", inside.target)
    await inside.tmux("new-window", "-t", f"{inside.target}9")
    await inside.tmux("select-pane", "-t", f"{inside.target}0.1")
    await inside.tmux("select-window", "-t", f"{inside.target}7")

    async def picture() -> list[str]:
        names = await inside.tmux("list-windows", "-t", inside.target, "-F", "#{window_index} #{window_name}")
        panes = await inside.tmux("list-panes", "-s", "-t", inside.target, "-F", f"{PANE} #{{pane_current_path}}")
        active = await inside.ask("#{window_index} #{pane_index}")
        return [*names.splitlines(), *panes.splitlines(), active]

    before = await picture()
    assert len(before) == 3 + 6 + 1
    await inside.restart()
    assert await picture() == before
    await inside.restart()
    assert await picture() == before


@pytest.mark.parametrize("name", ["two\nlines", "the end\n", "end;", ";", "a\\;", "漢字 😀", "'\"$(id)"])
async def test_odd_names_of_windows_and_directories_come_back(inside: Inside, name: str):
    folder = inside.home / name
    folder.mkdir()
    await inside.type("cd $'" + "".join(f"\\x{byte:02x}" for byte in bytes(folder)) + "'")
    await inside.tmux("new-window", "-d", "-t", f"{inside.target}3", "-n", name.replace(";", r"\;"))
    await inside.tmux("split-window", "-d", "-t", f"{inside.target}3")

    async def shown_name() -> str:
        shown = await inside.ask("#{window_panes} #{window_name}", f"{inside.target}3")
        return shown.replace("\n", " ").rstrip()

    async def is_there() -> bool:
        return await inside.ask("#{pane_current_path}", f"{inside.target}0") == str(folder).removesuffix("\n")

    await until(is_there)
    before = await shown_name()
    await inside.restart()
    await until(is_there)
    assert await shown_name() == before


async def test_scrollback_comes_back_with_its_colours_before_a_live_shell_and_never_twice(inside: Inside):
    await inside.type("seq -f 'line %g' 500; printf '\\e[31mred\\e[0m plain\\n'; echo last; cd /usr/lib")
    await inside.shows("last")
    await inside.shows("$")
    for turn in range(3):
        await inside.restart()
        await inside.type(f"echo turn $(({turn})) $PWD $-")
        await inside.shows(f"turn {turn} /usr/lib himBHs")
    text = await inside.text()
    assert [line for line in text if line.startswith("line ")] == [f"line {number}" for number in range(1, 501)]
    assert text.count("last") == text.count("red plain") == 1
    coloured = await inside.tmux("capture-pane", "-p", "-e", "-S", "-", "-t", inside.target)
    assert "\x1b[31mred\x1b[39m plain" in coloured


async def test_long_lines_stay_one_line_in_another_width(inside: Inside):
    await inside.type("printf '%s\\n' $(printf 'x%.0s' {1..100})")
    await inside.shows("x" * 20)
    await inside.save()
    phone = "\n".join(file.read_text() for file in (inside.state / "saved").glob("scrollback.*"))
    assert "x" * 100 in phone.splitlines()
    assert not any(line.endswith(" ") for line in phone.splitlines())


async def test_under_a_full_screen_program_its_shells_screen_is_saved(inside: Inside):
    await inside.type("seq -f 'line %g' 100; printf '\\e[?1049h\\e[2J\\e[Hfull screen'; cat")
    await inside.shows("full screen")
    await inside.restart()
    await inside.shows("$")
    text = await inside.text()
    assert [line for line in text if line.startswith("line ")] == [f"line {number}" for number in range(1, 101)]
    assert "full screen" not in text


async def test_what_is_saved_is_bounded(inside: Inside):
    await inside.type("seq -f 'line %g' 10000; echo last")
    await inside.shows("last")
    await inside.tmux("split-window", "-t", inside.target)
    await inside.type("cat -v </dev/zero | tr -d '\\n' | head -c 300000 | fold -w 70 | head -n 3000; echo last")
    await inside.shows("last")
    await inside.save()
    files = list((inside.state / "saved").glob("scrollback.*"))
    assert len(files) == 2
    assert all(file.stat().st_size <= 1048576 for file in files)
    assert all(len(file.read_text().splitlines()) <= 2100 for file in files)


async def test_saving_replaces_what_was_saved_and_leaves_nothing_else(inside: Inside):
    for _ in range(3):
        await inside.save()
    await asyncio.gather(*(inside.save() for _ in range(3)))
    names = sorted(path.name for path in inside.state.iterdir())
    assert len(names) == 3
    assert names[0] == "saved"
    assert (inside.state / "saved").resolve().name == names[1]


async def test_without_a_session_nothing_is_saved_and_nothing_lost(inside: Inside):
    await inside.save()
    saved = (inside.state / "saved").resolve()
    await inside.tmux("kill-server")
    assert await inside.run(inside.session.save_argv()) == (3, "")
    assert (inside.state / "saved").resolve() == saved
    assert saved.is_dir()


async def test_a_save_that_fails_leaves_the_last_one(inside: Inside):
    await inside.save()
    saved = (inside.state / "saved").resolve()
    limited = ["prlimit", "--fsize=0", *inside.session.save_argv()]
    assert (await inside.run(limited))[0] != 0
    assert (inside.state / "saved").resolve() == saved
    assert len(list(inside.state.glob("saved.*"))) == 1


async def test_a_session_that_was_killed_comes_back(inside: Inside):
    await inside.tmux("rename-window", "-t", inside.target, "mine")
    await inside.save()
    await inside.tmux("new-session", "-d", "-s", "other")
    await inside.tmux("kill-session", "-t", inside.target)
    await inside.ensure()
    assert await inside.ask("#{window_name} #{session_windows}") == "mine 1"


async def test_a_directory_that_is_gone_becomes_the_workspace(inside: Inside):
    gone = inside.home / "gone"
    gone.mkdir()
    await inside.tmux("new-window", "-t", inside.target, "-c", str(gone))
    await inside.save()
    await inside.tmux("kill-server")
    gone.rmdir()
    await inside.ensure()
    await inside.type("pwd")
    await inside.shows(f"{inside.home}/workspace")


LINE = "0\x1f0\x1f1\x1f1\x1f0\x1f0\x1f80\x1f24\x1fb25d,80x24,0,0,0\x1f%0\x1f0\x1f0\x1f0\x1f0\x1fname\x1f/tmp"
HOSTILE = {
    "empty": "",
    "noise": "\x00\xff\x1f" * 5000,
    "one endless line": "0\x1f" * 1_000_000,
    "a command for a number": LINE.replace("0\x1f0", "a[$(touch ~/harmed)]\x1f0", 1),
    "a command for a layout": LINE.replace("b25d", "$(touch ~/harmed);"),
    "a layout with a wrong sum": LINE.replace("b25d", "0000"),
    "a layout of too many panes": LINE.replace("b25d,80x24,0,0,0", "b25d,80x24,0,0{" + "1x1,0,0,1," * 700 + "}"),
    "a size beyond all": LINE.replace("80\x1f24", "99999\x1f99999"),
    "many windows": "\n".join(LINE.replace("0", str(number), 1) for number in range(5000)),
    "many panes": "\n".join([LINE] * 5000),
    "a name that is a format": LINE.replace("name", "#(touch ~/harmed)"),
    "a name that is an option": LINE.replace("name", "-t"),
    "a directory that is a format": LINE.replace("/tmp", "#(touch ~/harmed)"),
}


@pytest.mark.parametrize("panes", HOSTILE.values(), ids=HOSTILE.keys())
async def test_no_saved_state_keeps_a_session_from_starting(inside: Inside, panes: str):
    await inside.save()
    await inside.tmux("kill-server")
    (inside.state / "saved" / "panes").write_bytes(panes.encode("latin-1"))
    began = time.monotonic()
    await inside.run(inside.session.ensure_argv())
    assert time.monotonic() - began < 10
    await inside.type("echo $((6*7)) alive")
    await inside.shows("42 alive")
    assert int(await inside.ask("#{session_windows}")) <= 20
    assert not (inside.home / "harmed").exists()


@pytest.mark.parametrize("what", ["panes", "scrollback.0.0", ""])
@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "endless"])
async def test_odd_files_in_the_saved_state_do_not_matter(inside: Inside, what: str, kind: str):
    await inside.save()
    await inside.tmux("kill-server")
    path = f"{inside.state}/saved" + (f"/{what}" if what else "")
    make = {"fifo": "mkfifo", "folder": "mkdir", "loop": "ln -s .", "endless": "ln -s /dev/zero"}[kind]
    assert await inside.run(["sh", "-c", f"rm -r {path}; {make} {path}"]) == (0, "")
    await inside.ensure()
    await inside.type("echo $((6*7)) alive")
    await inside.shows("42 alive")
    await inside.restart()
