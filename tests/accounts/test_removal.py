"""Deleting an account while its runtime does not answer, and by a process that dies in the middle."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.messages import Caller, CreateEnvironment, DeleteAccount, ListEnvironments
from actors.origin import Origin
from devpocket.assembly import Assembly, assemble, load_own_templates, make_ports
from devpocket.clock import SystemClock
from devpocket.domain.templates import Wish
from devpocket.errors import UnauthenticatedError, UnavailableError
from devpocket.ids import EnvironmentId
from devpocket.metrics import Metrics
from devpocket.runtime.port import ContainerState, InstallationProgress, InstallationState, RuntimeHealth
from devpocket.settings import load_settings
from tests.accounts.waiting import until


class InterruptedRuntime:
    """Keeps ids of environments, and answers nobody while it ``is_down``."""

    def __init__(self) -> None:
        self.kept: set[str] = set()
        self.is_down = False
        self.refused = 0

    def _answer(self) -> None:
        if self.is_down:
            self.refused += 1
            raise UnavailableError("The runtime does not answer.")

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def check(self) -> RuntimeHealth:
        self._answer()
        return RuntimeHealth("interrupted", "1")

    async def ensure_running(self, spec: Any) -> None:
        self._answer()
        self.kept.add(spec.environment_id)

    async def ensure_deleted(self, environment_id: EnvironmentId) -> None:
        self._answer()
        self.kept.discard(environment_id)

    async def _ensure(self, *_: Any) -> None:
        self._answer()

    ensure_terminal = ensure_installation = ensure_installation_ended = ensure_stopped = save_terminal = usage = _ensure

    async def installation(self, *_: Any) -> InstallationProgress:
        self._answer()
        return InstallationProgress(InstallationState.SUCCEEDED)

    async def observe(self, environment_id: EnvironmentId) -> ContainerState:
        self._answer()
        return ContainerState.RUNNING if environment_id in self.kept else ContainerState.ABSENT

    async def list_environments(self) -> Sequence[EnvironmentId]:
        self._answer()
        return [EnvironmentId(each) for each in self.kept]


@asynccontextmanager
async def a_process(data_dir: Path, runtime: InterruptedRuntime) -> AsyncIterator[Assembly]:
    """All parts of a server process but its HTTP server."""
    environ = {"DATA_DIR": str(data_dir), "PASSWORD_MEMORY": "64KiB", "SWEEP_INTERVAL": "100ms"}
    settings, clock = load_settings(environ), SystemClock()
    ports = make_ports(settings, clock, Metrics())
    ports = dataclasses.replace(ports, runtime=runtime)  # type: ignore[arg-type]  # nobody attaches here
    await ports.store.start()
    await ports.bus.start()
    assembly = assemble(ports, (b"k" * 40,), owns_runtime=True)
    await load_own_templates(ports.store, clock)
    assembly.outbox.start()
    await assembly.supervisor.start()
    try:
        yield assembly
    finally:
        await assembly.background.close(1)
        await assembly.supervisor.stop(5)
        for close in (assembly.outbox.close, assembly.google.close, assembly.passwords.close):
            await close()
        await ports.bus.close()
        await ports.store.close()


async def somebody_with_an_environment(assembly: Assembly, runtime: InterruptedRuntime) -> tuple[Caller, str]:
    signed_in = await assembly.backend.accounts.register(
        username="somebody", email="somebody@example.org", password="Turtle55", full_name=None, origin=Origin()
    )
    caller = await assembly.backend.accounts.authenticate(access_token=signed_in.access_token, origin=Origin())
    wish = CreateEnvironment("ubuntu", Wish(name="one"))
    environment = await assembly.backend.users.ask(caller.user.id, wish)
    await until(lambda: environment.id in runtime.kept, "the environment")
    return caller, environment.id


async def users_in(assembly: Assembly) -> int:
    return await assembly.ports.store.users.count("email_key")


async def test_an_account_goes_at_once_and_its_environment_when_the_runtime_is_back(tmp_path: Path):
    runtime = InterruptedRuntime()
    async with a_process(tmp_path, runtime) as assembly:
        caller, environment_id = await somebody_with_an_environment(assembly, runtime)
        runtime.is_down = True
        await assembly.backend.users.ask(caller.user.id, DeleteAccount(caller))
        while await users_in(assembly):
            pass
        refused = runtime.refused
        await until(lambda: runtime.refused > refused + 1, "more tries")
        assert runtime.kept == {environment_id}
    async with a_process(tmp_path, runtime) as assembly:
        runtime.is_down = False
        await until(lambda: not runtime.kept, "the removal", patience_s=30)
        while await assembly.ports.store.environments.get(environment_id):
            pass
        assert await assembly.ports.store.reserved(f"environments:{caller.user.id}") == frozenset()


async def test_a_removal_that_was_cut_short_is_finished_by_whoever_comes_next(tmp_path: Path):
    runtime = InterruptedRuntime()
    async with a_process(tmp_path, runtime) as assembly:
        caller, _ = await somebody_with_an_environment(assembly, runtime)
        user, now = caller.user, assembly.ports.clock.now()
        document = await assembly.ports.store.users.get(user.id)
        assert document is not None
        closed = {**document, "is_active": False, "deletion_requested_at": now}
        await assembly.ports.store.users.replace(closed)
    async with a_process(tmp_path, runtime) as assembly:
        await until(lambda: not runtime.kept, "the removal", patience_s=30)
        while await users_in(assembly):
            pass
        assert await assembly.ports.store.sessions.count("user", user.id) == 0
        assert await assembly.ports.store.audit.count("user_at", user.id) == 0


async def test_an_environment_that_another_process_makes_meanwhile_goes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runtime = InterruptedRuntime()
    async with a_process(tmp_path, runtime) as assembly:
        caller, _ = await somebody_with_an_environment(assembly, runtime)
        store, user_id = assembly.ports.store, caller.user.id
        await store.users.replace({**(await store.users.get(user_id) or {}), "subscription_plan": "pro"})
        insert = store.environments.insert

        async def insert_late(document: dict[str, Any]) -> None:
            """The other process closes the account after this one has looked whether it is open."""
            await insert(document)
            await store.users.replace({**(await store.users.get(user_id) or {}), "is_active": False})

        monkeypatch.setattr(store.environments, "insert", insert_late)
        with pytest.raises(UnauthenticatedError):
            await assembly.backend.users.ask(user_id, CreateEnvironment("ubuntu", Wish(name="two")))
        await until(lambda: not runtime.kept, "the removal", patience_s=30)
        assert await assembly.backend.users.ask(user_id, ListEnvironments()) == []
