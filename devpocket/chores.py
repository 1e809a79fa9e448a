"""What an operator does from the command line: looking at the ports, making an administrator."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from actors.audit import Audit
from actors.origin import Origin
from actors.ports import Ports
from actors.user_records import UserRecords
from devpocket.assembly import password_settings
from devpocket.auth.passwords import Passwords, check_new_password
from devpocket.bus import Bus
from devpocket.domain import users as rules
from devpocket.domain.users import Role, User
from devpocket.errors import ConfigurationError, ConflictError, DevPocketError
from devpocket.ids import UserId, new_id
from devpocket.mail.greeting import greet
from devpocket.mail.messages import parse_sender
from devpocket.mail.sender import DeliveryError
from devpocket.mail.smtp import parse_mail_url
from devpocket.runtime.port import Runtime
from devpocket.store.port import Store

Say = Callable[[str], None]
CHECK_DEADLINE_S = 15.0
MAIL_TIMEOUT_S = 4.0
_OPERATOR = Origin(device="command line")


@dataclass(frozen=True, slots=True)
class _Found:
    """What is said of a port, and whether something is wrong with it."""

    lines: tuple[str, ...]
    healthy: bool = True


async def check_ports(ports: Ports, say: Say) -> bool:
    """Say a line for each port, and one for each thing that is wrong; tell whether all is well.

    Looks and mends nothing: what a start would put right is named.
    """
    checks = {"store": _check_store, "bus": _check_bus, "runtime": _check_runtime, "mail": _check_mail}
    found = await asyncio.gather(*(_bounded(check(ports)) for check in checks.values()))
    for name, each in zip(checks, found, strict=True):
        for line in each.lines:
            say(f"{name}: {line}")
    return all(each.healthy for each in found)


async def _bounded(check: Awaitable[_Found]) -> _Found:
    try:
        async with asyncio.timeout(CHECK_DEADLINE_S):
            return await check
    except DevPocketError as error:
        return _Found((" ".join(filter(None, (error.public, error.detail))),), healthy=False)
    except (ConfigurationError, DeliveryError, OSError) as error:
        return _Found((str(error),), healthy=False)
    except TimeoutError:
        return _Found((f"does not answer within {CHECK_DEADLINE_S:g} s",), healthy=False)


async def _check_store(ports: Ports) -> _Found:
    async with _closing(ports.store):
        inspection = await ports.store.inspect()
    health = inspection.health
    told = f"{health.name} {health.version} answers in {_milliseconds(health.latency_s)}"
    return _Found((told, *inspection.notes, *inspection.index_differences), healthy=not inspection.index_differences)


async def _check_bus(ports: Ports) -> _Found:
    async with _closing(ports.bus):
        health = await ports.bus.check()
        told = f"{f'{health.name} {health.version}'.strip()} answers in {_milliseconds(health.latency_s)}"
        await ports.bus.start()
        if ports.bus.degraded:
            return _Found((told, "what is published does not come back, or no script may write"), healthy=False)
    return _Found((told,))


async def _check_runtime(ports: Ports) -> _Found:
    async with _closing(ports.runtime):
        await ports.runtime.start()
        health = await ports.runtime.check()
    limits = ", ".join(f"{name} by {by}" for name, by in health.limits.items())
    told = f"{health.name} {health.version} answers; network {health.network}; limits: {limits}"
    return _Found((told, *health.warnings))


async def _check_mail(ports: Ports) -> _Found:
    mail = ports.settings.mail
    parse_sender(mail.mail_from)
    if mail.mail_url is None:
        return _Found((f"no mail server is set; mails become files in {ports.settings.server.data_dir / 'mail'}",))
    began = time.perf_counter()
    greeting = await greet(parse_mail_url(str(mail.mail_url)), timeout_s=MAIL_TIMEOUT_S)
    return _Found((f"{greeting} answers in {_milliseconds(time.perf_counter() - began)}",))


@asynccontextmanager
async def _closing(port: Store | Bus | Runtime) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await port.close()


def _milliseconds(latency_s: float) -> str:
    return f"{latency_s * 1000:.1f} ms"


async def make_admin(ports: Ports, username: str, email: str, password: str) -> str:
    """Make an administrator, or one of the account with that address; return a sentence for the operator."""
    records = UserRecords(ports)
    existing = await records.by_email(rules.email_key(email))
    if existing is not None:
        return await _promote(ports, records, existing, username)
    plan, now = ports.plans.default.name, ports.clock.now()
    user = rules.new_user(UserId(new_id()), username, email, plan=plan, now=now)
    rules.raise_problems(rules.username_problems(user.username) + rules.email_problems(user.email))
    check_new_password(password)
    passwords = Passwords(password_settings(ports.settings))
    try:
        password_hash = await passwords.hash(password)
    finally:
        await passwords.close()
    await records.insert(replace(user, password_hash=password_hash, role=Role.ADMIN, is_verified=True))
    await Audit(ports).note("made_administrator", _OPERATOR, user_id=user.id)
    return f"{user.username} has been made an administrator."


async def _promote(ports: Ports, records: UserRecords, user: User, username: str) -> str:
    """Make an administrator of an account, if it goes by the name that the operator expects."""
    if rules.username_key(username) != user.username_key:
        # Anybody may have registered the address before its owner; an administrator is not made by mistake.
        raise ConflictError(
            f"The account with this address goes by another name, {user.username}. Is it the right one?"
        )
    await records.change(user.id, lambda each: replace(each, role=Role.ADMIN))
    await Audit(ports).note("made_administrator", _OPERATOR, user_id=user.id)
    return f"{user.username} is an administrator now."
