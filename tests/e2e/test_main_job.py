"""The main job: sign up, pick a template, get an environment, type, lose the connection, come back."""

import asyncio
import time

from tests.e2e.conftest import Phones
from tests.e2e.server import ServerProcess, processes_naming
from tests.phone.client import Phone


async def test_from_sign_up_to_the_same_screen_again(phone: Phone):
    started = time.monotonic()
    created = await phone.create("My Awesome Project ✨")
    assert time.monotonic() - started < 1
    assert created["status"] in {"creating", "running"}
    assert created["name"] == "My Awesome Project ✨"
    environment = await phone.until(created["id"], "running")
    assert time.monotonic() - started < 5
    assert environment["installation_completed"] is True

    async with phone.terminal(created["id"]) as terminal:
        welcome = await terminal.wait_for("welcome")
        assert terminal.messages[0] == welcome
        assert welcome["environment"]["name"] == "My Awesome Project ✨"
        assert welcome["environment"]["template"] == "ubuntu"
        assert welcome["environment"]["status"] == "running"
        await terminal.run("echo $((6 * 7))-first", "42-first")
        await terminal.press("half_typed")
        await terminal.see("half_typed")
        await terminal.cut()

    async with phone.terminal(created["id"]) as terminal:
        await terminal.see("42-first")
        await terminal.see("half_typed")
        await terminal.run("echo $((6 * 8))-second", "48-second")


async def test_the_shell_is_an_ordinary_user_at_home(phone: Phone):
    environment_id = (await phone.create("Ann's box"))["id"]
    await phone.until(environment_id, "running")
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("echo u:$(id -un):$HOME", "u:devpocket:/home/devpocket")
        await terminal.run("echo w:$(pwd)", "w:/home/devpocket/workspace")
        await terminal.run("echo l:$(readlink -f /workspace)", "l:/home/devpocket/workspace")
        await terminal.run("echo h:$(hostname)", "h:ann-s-box")
        await terminal.run("touch /usr/x 2>/dev/null || echo s:$?", "s:1")
        await terminal.run("tmux display-message -p 't:#{session_name}'", f"t:devpocket_{environment_id}")


async def test_two_people_at_once_see_nothing_of_each_other(phones: Phones):
    ann, bob = await asyncio.gather(phones(), phones())
    homes = await asyncio.gather(ann.create("Same name"), bob.create("Same name"))
    for person, home in zip((ann, bob), homes, strict=True):
        await person.until(home["id"], "running")
        assert [each["id"] for each in await person.environments()] == [home["id"]]
    async with ann.terminal(homes[0]["id"]) as of_ann, bob.terminal(homes[1]["id"]) as of_bob:
        await asyncio.gather(
            of_ann.run("S=ann; echo $S > ~/mine; echo $S-$((1 + 1))", "ann-2"),
            of_bob.run("S=bob; echo $S > ~/mine; echo $S-$((1 + 2))", "bob-3"),
        )
        await of_ann.run("echo $(cat ~/mine)-home", "ann-home")
        await of_bob.run("echo $(ls /home | wc -l)-homes", "1-homes")
        await of_bob.run("echo $(ps -e | grep -c bash)x$(pgrep -c sleep)", "x0")
        assert "bob" not in of_ann.shown
        assert "ann" not in of_bob.shown


async def test_what_came_during_the_absence_is_there_on_return(phone: Phone):
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    async with phone.terminal(environment_id) as terminal:
        await terminal.wait_for("welcome")
        await terminal.enter("sleep 1; echo m$((1 + 1))m")
        await terminal.see("1))m")
    async with phone.terminal(environment_id) as terminal:
        await terminal.see("m2m")


async def test_history_comes_first_and_whole(phone: Phone):
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("for i in $(seq 300); do echo L${i}Z; done", "L300Z")
    async with phone.terminal(environment_id) as terminal:
        await terminal.see("L300Z")
        places = [terminal.shown.find(f"L{number}Z") for number in range(1, 301)]
        assert -1 not in places
        assert places == sorted(places)


async def test_no_tmux_client_stays_behind_a_cut_socket(phone: Phone, server: ServerProcess):
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    for _ in range(5):
        async with phone.terminal(environment_id) as terminal:
            await terminal.wait_for("welcome")
            await terminal.wait_for("output")
    async with phone.terminal(environment_id) as terminal:
        await terminal.wait_for("welcome")
        await terminal.enter('until [ "$(tmux list-clients | wc -l)" = 1 ]; do sleep 0.1; done; echo c$((1 + 0))c')
        await terminal.see("c1c")
    assert processes_naming(environment_id)


async def test_the_person_is_known_again_after_signing_out_and_in(phone: Phone):
    environment_id = (await phone.create())["id"]
    await phone.refresh()
    await phone.sign_out()
    me = await phone.sign_in()
    assert me["username"] == phone.username
    assert [each["id"] for each in await phone.environments()] == [environment_id]
