"""Part of the composition root: which adapter stands behind each port, and who is given what."""

import base64
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from actors.account_removal import AccountRemoval
from actors.accounts import Accounts
from actors.audit import Audit
from actors.backend import Backend
from actors.background import Background
from actors.clusters import Clusters
from actors.codes import Codes
from actors.creation import Creation
from actors.directory import Directory
from actors.environment import EnvironmentActor
from actors.environment_messages import DriveEnvironment
from actors.health import Health
from actors.journal import Journal
from actors.mail_store import MailStore
from actors.password_change import PasswordChange
from actors.ports import Ports
from actors.rate_limits import RateLimits
from actors.samples import Samples
from actors.sessions import Sessions
from actors.settling import Settling
from actors.sign_in import PasswordSignIn
from actors.slots import Slots
from actors.supervisor import Supervisor
from actors.sweeps import Sweeps
from actors.templates import Templates
from actors.user import UserActor, UserServices
from actors.user_records import UserRecords
from devpocket.auth.google import Google, GoogleSettings
from devpocket.auth.lockout import LockoutSettings
from devpocket.auth.passwords import Passwords, PasswordSettings
from devpocket.auth.tokens import Tokens, TokenSettings
from devpocket.auth.turns import Turns
from devpocket.bus import make_bus
from devpocket.clock import Clock
from devpocket.domain.events import EventKind
from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.ids import EnvironmentId, ProcessId, UserId, new_id
from devpocket.mail.messages import Messages
from devpocket.mail.outbox import Outbox, make_sender
from devpocket.mail.settings import MailSettings
from devpocket.metrics import Metrics
from devpocket.runtime.local.configuration import LocalRuntimeSettings
from devpocket.runtime.local.driver import LocalRuntime
from devpocket.runtime.port import Runtime
from devpocket.settings import RuntimeKind, Settings
from devpocket.settings.plans import load_plans
from devpocket.store import open_store
from devpocket.store.errors import DuplicateKeyError
from devpocket.store.port import Store
from scripts.load_templates import load_templates

PROJECT: Path = Path(__file__).resolve().parent.parent
TEMPLATES: Path = PROJECT / "scripts" / "templates"

Notice = Callable[[EnvironmentId, str], None]


@dataclass(slots=True)
class Assembly:
    """Everything that a process is made of and that has to be started and stopped."""

    ports: Ports
    backend: Backend
    supervisor: Supervisor
    outbox: Outbox
    passwords: Passwords
    google: Google
    background: Background
    journal: Journal

    def notify(self, environment_id: EnvironmentId, text: str) -> None:
        """Bring what the runtime says of an environment to whoever is at its terminals."""
        notice = self.journal.announce(environment_id, EventKind.NOTICE, {"message": text})
        self.background.start(notice, "notice of the runtime")


def make_runtime(settings: Settings, clock: Clock, on_notice: Notice | None = None) -> Runtime:
    """Return the driver that ``RUNTIME`` names, not started."""
    if settings.runtime.kind is not RuntimeKind.LOCAL:
        raise ConfigurationError(f"RUNTIME: the {settings.runtime.kind} driver is not part of this version; use local")
    local = LocalRuntimeSettings(
        data_dir=settings.server.data_dir,
        host=settings.server.host,
        sandbox=settings.runtime.sandbox,
        network=settings.runtime.network,
        uid_base=settings.runtime.uid_base,
        hidden_paths=(PROJECT,),
    )
    return LocalRuntime(local, clock, on_notice)


def make_store(settings: Settings, clock: Clock) -> Store:
    """Return the store that ``DATABASE_URL`` names, not started."""
    return open_store(str(settings.store.database_url), clock)


def make_ports(settings: Settings, clock: Clock, metrics: Metrics, on_notice: Notice | None = None) -> Ports:
    """Return the ports, none of them started."""
    process_id = ProcessId(new_id())
    return Ports(
        settings=settings,
        clock=clock,
        store=make_store(settings, clock),
        bus=make_bus(settings.bus, process_id),
        runtime=make_runtime(settings, clock, on_notice),
        metrics=metrics,
        plans=load_plans(settings.server.plans_file),
        process_id=process_id,
    )


async def shared_value(store: Store, name: str, make: Callable[[], str]) -> str:
    """Return a value that is made once and kept in the store, so that restarts and several processes agree on it."""
    document = await store.settings.get(name)
    if document is None:
        with contextlib.suppress(DuplicateKeyError):  # another process was first
            await store.settings.insert({"_id": name, "value": make()})
        document = await store.settings.get(name)
    if document is None:
        raise ConfigurationError(f"the store does not keep {name}")
    return str(document["value"])


async def secret_keys(settings: Settings, store: Store) -> tuple[bytes, ...]:
    """Return ``SECRET_KEY``, or the key that was made at the first start."""
    if settings.auth.secret_keys:
        return tuple(key.encode() for key in settings.auth.secret_keys)
    made = await shared_value(store, "secret_key", lambda: base64.urlsafe_b64encode(secrets.token_bytes(48)).decode())
    return (made.encode(),)


async def load_own_templates(store: Store, clock: Clock) -> tuple[int, int]:
    """Bring the templates that come with the server into the store; return how many were written, how many kept."""
    report = await load_templates(store, TEMPLATES, clock=clock)
    return len(report.created) + len(report.updated), len(report.unchanged)


def assemble(ports: Ports, keys: tuple[bytes, ...], *, owns_runtime: bool) -> Assembly:
    """Return actors and services over started ports."""
    settings = ports.settings
    audit, background, records = Audit(ports), Background(), UserRecords(ports)
    tokens = Tokens(_token_settings(settings, keys), ports.clock)
    passwords = Passwords(password_settings(settings))
    google = Google(_google_settings(settings))
    mail = _mail_settings(settings, keys)
    outbox = Outbox(mail, MailStore(ports.store), make_sender(mail), ports.clock, ports.metrics.mail_ended)
    codes = Codes(ports, keys, Messages(mail.frontend_url), outbox)
    sessions = Sessions(ports, tokens, audit)
    templates = Templates(ports, audit, partial(load_own_templates, ports.store, ports.clock))
    journal = Journal(ports)
    samples = Samples(ports.store, ports.clock, settings.store.metrics_ttl_s)
    environments: Directory[EnvironmentId] = Directory(lambda key: EnvironmentActor(key, ports, journal, samples))

    def drive(environment_id: EnvironmentId) -> None:
        with contextlib.suppress(UnavailableError):  # too busy, or stopping: the sweep of some process drives it
            environments.tell(environment_id, DriveEnvironment())

    limits, slots = RateLimits(ports), Slots(ports)
    removal = AccountRemoval(ports, records, sessions, codes, outbox, audit, drive)
    creation = Creation(ports, slots, templates, background, drive)
    password_change = PasswordChange(ports, records, sessions, passwords, codes, audit)
    services = UserServices(ports, records, sessions, password_change, codes, creation, removal, limits, audit)
    users: Directory[UserId] = Directory(lambda key: UserActor(key, services))
    sign_in = PasswordSignIn(ports, records, sessions, passwords, Turns(), audit, _lockout_settings(settings))
    accounts = Accounts(
        ports,
        users=users,
        records=records,
        sessions=sessions,
        tokens=tokens,
        passwords=passwords,
        sign_in=sign_in,
        google=google,
        codes=codes,
        audit=audit,
        background=background,
    )
    backend = _backend(
        ports, users=users, environments=environments, accounts=accounts, templates=templates, limits=limits
    )
    sweeps = Sweeps(ports, environments, removal, slots, owns_runtime=owns_runtime)
    supervisor = Supervisor(ports, users, environments, samples, sweeps)
    return Assembly(ports, backend, supervisor, outbox, passwords, google, background, journal)


def _backend(
    ports: Ports,
    *,
    users: Directory[UserId],
    environments: Directory[EnvironmentId],
    accounts: Accounts,
    templates: Templates,
    limits: RateLimits,
) -> Backend:
    return Backend(
        settings=ports.settings,
        clock=ports.clock,
        metrics=ports.metrics,
        users=users,
        environments=environments,
        accounts=accounts,
        templates=templates,
        clusters=Clusters(ports, ports.clock.now()),
        health=Health(ports),
        limits=limits,
        settling=Settling(environments),
    )


def _token_settings(settings: Settings, keys: tuple[bytes, ...]) -> TokenSettings:
    return TokenSettings(
        keys=keys,
        access_ttl_s=settings.auth.access_token_lifetime_s,
        refresh_ttl_s=settings.auth.refresh_token_lifetime_s,
    )


def password_settings(settings: Settings) -> PasswordSettings:
    return PasswordSettings(
        time_cost=settings.auth.password_time_cost,
        memory_kib=settings.auth.password_memory_bytes // 1024,
        workers=settings.auth.password_workers,
    )


def _google_settings(settings: Settings) -> GoogleSettings:
    auth = settings.auth
    return GoogleSettings(client_ids=auth.google_client_ids, certificates_url=str(auth.google_certificates_url))


def _lockout_settings(settings: Settings) -> LockoutSettings:
    attempts = settings.auth.lockout_attempts
    return LockoutSettings(
        pair_attempts=attempts, account_attempts=attempts * 4, lock_s=settings.auth.lockout_duration_s
    )


def _mail_settings(settings: Settings, keys: tuple[bytes, ...]) -> MailSettings:
    http, server = settings.http, settings.server
    frontend = http.frontend_url or http.base_url
    return MailSettings(
        directory=server.data_dir / "mail",
        keys=keys,
        mail_url=str(settings.mail.mail_url) if settings.mail.mail_url else None,
        sender=settings.mail.mail_from,
        frontend_url=str(frontend) if frontend else f"http://localhost:{server.port}",
        show_codes=server.debug,
    )
