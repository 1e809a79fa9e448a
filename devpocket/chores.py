"""What an operator does from the command line: looking at the ports, making an administrator."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from actors.audit import Audit
from actors.origin import Origin
from actors.ports import Ports
from actors.user_records import UserRecords
from devpocket.assembly import password_settings
from devpocket.auth.passwords import Passwords, check_new_password
from devpocket.domain import users as rules
from devpocket.domain.users import Role, User
from devpocket.errors import ConfigurationError, ConflictError, DevPocketError
from devpocket.ids import UserId, new_id

Say = Callable[[str], None]
_OPERATOR = Origin(device="command line")


async def check_ports(ports: Ports, say: Say) -> bool:
    """Say a line for each port, and one for each thing that is wrong; tell whether all is well."""
    healthy = True
    for check in (_check_store, _check_bus, _check_runtime):
        name = check.__name__.removeprefix("_check_")
        try:
            healthy = await check(ports, say) and healthy
        except (ConfigurationError, DevPocketError) as error:
            say(f"{name}: does not answer: {getattr(error, 'public', error)}")
            healthy = False
    return healthy


async def _check_store(ports: Ports, say: Say) -> bool:
    async def look() -> bool:
        await ports.store.start()
        health = await ports.store.check()
        say(f"store: {health.name} {health.version} answers in {health.latency_s * 1000:.1f} ms")
        for difference in health.index_differences:
            say(f"store: {difference}")
        return not health.index_differences

    return await _closing(look, ports.store.close)


async def _check_bus(ports: Ports, say: Say) -> bool:
    async def look() -> bool:
        await ports.bus.start()
        health = await ports.bus.check()
        say(f"bus: {f'{health.name} {health.version}'.strip()} answers in {health.latency_s * 1000:.1f} ms")
        return not health.degraded

    return await _closing(look, ports.bus.close)


async def _check_runtime(ports: Ports, say: Say) -> bool:
    async def look() -> bool:
        await ports.runtime.start()
        health = await ports.runtime.check()
        limits = ", ".join(f"{name} by {by}" for name, by in health.limits.items())
        say(f"runtime: {health.name} {health.version} answers; network {health.network}; limits: {limits}")
        for warning in health.warnings:
            say(f"runtime: {warning}")
        return True

    return await _closing(look, ports.runtime.close)


async def _closing(look: Callable[[], Awaitable[bool]], close: Callable[[], Awaitable[None]]) -> bool:
    try:
        return await look()
    finally:
        await close()


async def make_admin(ports: Ports, username: str, email: str, password: str) -> str:
    """Make an administrator, or one of the account with that address; return a sentence for the operator."""
    records = UserRecords(ports)
    existing = await records.by_email(rules.email_key(email))
    if existing is not None:
        return await _promote(ports, records, existing, username)
    username, email = rules.clean_username(username), rules.clean_email(email)
    rules.raise_problems(rules.username_problems(username) + rules.email_problems(email))
    check_new_password(password)
    now = ports.clock.now()
    passwords = Passwords(password_settings(ports.settings))
    try:
        user = User(
            id=UserId(new_id()),
            username=username,
            username_key=rules.username_key(username),
            email=email,
            email_key=rules.email_key(email),
            password_hash=await passwords.hash(password),
            role=Role.ADMIN,
            is_verified=True,
            subscription_plan=ports.plans.default.name,
            created_at=now,
            updated_at=now,
        )
    finally:
        await passwords.close()
    await records.insert(user)
    await Audit(ports).note("made_administrator", _OPERATOR, user_id=user.id)
    return f"{username} has been made an administrator."


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
