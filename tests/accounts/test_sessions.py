"""Sessions: listed, ended one by one or all, and gone everywhere within a second."""

import asyncio
import json
import time

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.accounts.conftest import Cluster, SignUp
from tests.accounts.people import Person, Web

SOON_S = 1.0


async def refused_everywhere(person: Person, webs: tuple[Web, ...]) -> float:
    """Return after how many seconds no process takes the access token any more."""
    began_s = time.monotonic()
    while any([await person.at(web).is_signed_in() for web in webs]):
        assert time.monotonic() - began_s < 5, "the token still works"
    return time.monotonic() - began_s


async def open_socket(person: Person, environment_id: str) -> ClientConnection:
    """Return an admitted log socket, which the server pings and nobody reads."""
    url = person.web.url.replace("http", "ws", 1)
    socket = await connect(f"{url}/api/v1/ws/logs/{environment_id}?token={person.access_token}", proxy=None)
    assert json.loads(await socket.recv())["type"] == "welcome"
    return socket


async def test_a_session_says_where_it_is(people: SignUp, web: Web):
    person = await people()
    async with Web(web.url, address="203.0.113.7", device="Dart/3.5 (dart:io)") as phone:
        await person.at(phone).sign_in()
    sessions = (await person.get("/users/me/sessions")).json()
    assert len(sessions) == 2
    assert [session["is_current"] for session in sessions].count(True) == 1
    other = next(session for session in sessions if not session["is_current"])
    assert (other["device"], other["address"]) == ("Dart/3.5 (dart:io)", "203.0.113.7")
    assert other["last_used_at"] >= other["created_at"]
    assert "token" not in json.dumps(sessions)
    async with Web(web.url, address="203.0.113.8", device="another") as elsewhere:
        moved = person.at(elsewhere)
        assert (await moved.try_refresh()).status_code == 200
        (session,) = [each for each in (await moved.get("/users/me/sessions")).json() if each["is_current"]]
    assert (session["device"], session["address"]) == ("another", "203.0.113.8")


async def test_one_session_is_ended_and_the_others_go_on(people: SignUp):
    person = await people()
    other, third = await person.at(person.web).sign_in(), await person.at(person.web).sign_in()
    sessions = (await other.get("/users/me/sessions")).json()
    current = next(session["id"] for session in sessions if session["is_current"])
    assert (await person.delete(f"/users/me/sessions/{current}")).status_code == 200
    assert await refused_everywhere(other, (person.web,)) < SOON_S
    assert (await other.try_refresh()).status_code == 401
    assert await person.is_signed_in()
    assert await third.is_signed_in()
    assert (await person.delete(f"/users/me/sessions/{current}")).status_code == 404
    assert "session_ended" in await person.actions()


@pytest.mark.parametrize("session_id", ["x", "0" * 24, "..%2F..", "%00", "%ED%A0%80", "x" * 3000])
async def test_a_session_of_nobody_cannot_be_ended(person: Person, session_id: str):
    assert (await person.delete(f"/users/me/sessions/{session_id}")).status_code in (400, 404)


async def test_somebody_elses_session_cannot_be_ended(people: SignUp):
    person, stranger = await people(), await people()
    (session,) = (await stranger.get("/users/me/sessions")).json()
    assert (await person.delete(f"/users/me/sessions/{session['id']}")).status_code == 404
    assert await stranger.is_signed_in()


async def test_all_sessions_are_ended_with_this_one_or_without(people: SignUp):
    person = await people()
    others = [await person.at(person.web).sign_in() for _ in range(3)]
    answer = await person.delete("/users/me/sessions")
    assert answer.json()["ended"] == 3
    for other in others:
        assert await refused_everywhere(other, (person.web,)) < SOON_S
    assert await person.is_signed_in()
    assert (await person.delete("/users/me/sessions?include_current=perhaps")).status_code == 422
    assert (await person.delete("/users/me/sessions?include_current=true")).json()["ended"] == 1
    assert await refused_everywhere(person, (person.web,)) < SOON_S


async def test_a_logout_holds_in_every_process_and_closes_sockets(both: tuple[Web, Web], cluster: Cluster):
    person = await Person(both[0]).sign_up()
    staying = await person.at(both[0]).sign_in()
    created = await person.post("/environments/", {"name": "one", "template_id": "ubuntu"})
    assert created.status_code == 201, created.text
    environment_id = created.json()["id"]
    leaving = [await open_socket(person.at(web), environment_id) for web in both]
    kept = await open_socket(staying.at(both[1]), environment_id)
    assert all([await person.at(web).is_signed_in() for web in both])
    began_s = time.monotonic()
    assert (await person.at(both[1]).post("/auth/logout")).status_code == 200
    assert await refused_everywhere(person, both) < SOON_S
    async with asyncio.timeout(5):
        for socket in leaving:
            await socket.wait_closed()
    assert time.monotonic() - began_s < SOON_S
    assert [socket.close_code for socket in leaving] == [1008, 1008]
    assert (await person.try_refresh()).status_code == 401
    await kept.send('{"type": "ping"}')
    async with asyncio.timeout(10):
        while json.loads(await kept.recv())["type"] != "pong":
            pass
    await kept.close()
    assert await staying.at(both[1]).is_signed_in()
    assert (await staying.delete(f"/environments/{environment_id}")).status_code == 204
    assert cluster.database.sessions.count_documents({"user_id": person.id}) == 1


async def test_a_session_that_ends_without_an_event_is_out_within_a_second_or_two(
    both: tuple[Web, Web], cluster: Cluster
):
    person = await Person(both[0]).sign_up()
    created = await person.post("/environments/", {"name": "one", "template_id": "ubuntu"})
    socket = await open_socket(person, created.json()["id"])
    owner = await person.at(both[1]).sign_in()
    (session,) = [each for each in (await person.get("/users/me/sessions")).json() if each["is_current"]]
    cluster.database.sessions.delete_one({"_id": session["id"]})
    assert await refused_everywhere(person, both) < SOON_S
    async with asyncio.timeout(5):
        await socket.wait_closed()
    assert socket.close_code == 1008
    assert (await owner.delete(f"/environments/{created.json()['id']}")).status_code == 204


async def test_the_fifty_first_device_ends_the_one_that_was_longest_unused(people: SignUp):
    person = await people()
    latest = person
    for _ in range(50):
        latest = await person.at(person.web).sign_in()
    assert len((await latest.get("/users/me/sessions")).json()) == 50
    assert await refused_everywhere(person, (person.web,)) < SOON_S
