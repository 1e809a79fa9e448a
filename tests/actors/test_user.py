"""The actor of one user under a load that cannot be caused from outside."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from actors import user
from actors.directory import Directory
from actors.messages import OpenSocket
from actors.user import UserActor, UserServices
from devpocket.bus.memory import MemoryBus
from devpocket.domain.users import new_user
from devpocket.errors import PermissionDeniedError
from devpocket.ids import SessionId, UserId
from devpocket.settings import load_settings
from devpocket.settings.plans import load_plans
from tests.auth.clocks import START, SetClock

ANN = new_user(UserId("u" * 24), "ann", "ann@example.org", plan="free", now=START)


class Anything:
    """Records in which everybody is Ann, and every session lives."""

    async def get(self, _id: str) -> object:
        return ANN


def services() -> UserServices:
    settings = load_settings(environ={"SOCKETS_PER_USER": "1"}, dotenv=None)
    plans = load_plans(settings.server.plans_file)
    ports = SimpleNamespace(bus=MemoryBus(), clock=SetClock(), settings=settings, plans=plans)
    return cast("UserServices", SimpleNamespace(ports=ports, records=Anything(), sessions=Anything()))


async def opened(users: Directory[UserId], socket_id: str, is_gone: Callable[[], bool]) -> None:
    await users.ask(ANN.id, OpenSocket(socket_id, SessionId("s" * 24), lambda _code, _reason: None, is_gone))


async def test_a_socket_whose_closing_was_never_told_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "CHECK_INTERVAL_S", 0.01)
    shared, gone = services(), asyncio.Event()
    users: Directory[UserId] = Directory(lambda key: UserActor(key, shared))
    await opened(users, "one", gone.is_set)
    with pytest.raises(PermissionDeniedError):
        await opened(users, "two", gone.is_set)
    gone.set()
    async with asyncio.timeout(5):
        while True:
            try:
                await opened(users, "three", lambda: False)
                break
            except PermissionDeniedError:
                await asyncio.sleep(0.001)
    await users.stop_all(5.0)
