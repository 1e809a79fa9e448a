"""The settings: one frozen dataclass per concern, one field per setting, its docstring below it.

A new setting is one field here. Where its default is not told in the docstring it is in the field; the reference page
and ``.env.example`` are written from both.
"""

# ruff: noqa: RUF009 - the calls in the class bodies make dataclass fields

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from devpocket.settings import values
from devpocket.settings.values import Kind, Network, Secret, Url


class RuntimeKind(StrEnum):
    """Where environments live."""

    LOCAL = "local"
    DOCKER = "docker"
    KUBERNETES = "kubernetes"


class LocalSandbox(StrEnum):
    """What keeps local environments apart."""

    BUBBLEWRAP = "bubblewrap"
    NONE = "none"
    """Nothing: their processes see this machine. For trying things out where bubblewrap cannot run."""


class LocalNetwork(StrEnum):
    """What a local environment sees of the network."""

    AUTO = "auto"
    """Private where that works, else the host's, but only while the server listens on loopback."""
    PRIVATE = "private"
    """Its own network behind passt: the internet works, the host's loopback cannot be reached."""
    HOST = "host"
    NONE = "none"


class LogLevel(StrEnum):
    """The least weighty lines that are written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class LogFormat(StrEnum):
    """How log lines look."""

    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a field is read from: the variable, the text of its default, and the rule of its text."""

    name: str
    default: str
    kind: Kind[Any]


def setting(name: str, default: str, kind: Kind[Any]) -> Any:
    """Return a dataclass field that is read from the variable ``name``; the default goes through the same rule."""
    return field(default=kind.read(default), metadata={"setting": Setting(name, default, kind)})


def optional(name: str, kind: Kind[Any]) -> Any:
    """Return a dataclass field that is None unless the variable ``name`` is set."""
    return field(default=None, metadata={"setting": Setting(name, "", kind)})


def listed(name: str, kind: Kind[Any]) -> Any:
    """Return a dataclass field that is a tuple, empty unless the variable ``name`` is set."""
    return field(default=(), metadata={"setting": Setting(name, "", values.several(kind))})


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The process: where it listens, where it keeps files, how it stops."""

    host: str = setting("HOST", "127.0.0.1", values.host())
    """Address to listen on. This machine alone by default: put a proxy with TLS in front before opening it."""
    port: int = setting("PORT", "8000", values.whole(0, 65535))
    """Port to listen on; 0 takes a free one, which the first line of the log names."""
    data_dir: Path = setting("DATA_DIR", "./data", values.folder())
    """Folder for everything the server keeps: database, homes of local environments, mails without a mail server."""
    environment: str = setting("ENVIRONMENT", "production", values.text_up_to(40))
    """Name of this installation, shown by ``/health`` and in logs. It changes nothing else."""
    debug: bool = setting("DEBUG", "off", values.flag())
    """Shows mail codes and more detail in the log. Never on a machine that others can reach."""
    processes: int = setting("PROCESSES", "1", values.whole(1, 64))
    """Server processes on this machine. More than one needs MongoDB, and Redis for prompt events."""
    shutdown_notice_s: float = setting("SHUTDOWN_NOTICE", "200ms", values.duration(0, "5m"))
    """Time after SIGTERM in which ``/health/ready`` says no and connections are taken, for balancers to notice."""
    shutdown_timeout_s: float = setting("SHUTDOWN_TIMEOUT", "8s", values.duration(0.5, "10m"))
    """Longest time from there to the end of the process; what is left then is cut off."""
    plans_file: Path = setting("PLANS_FILE", "config/plans.yaml", values.folder())
    """YAML file with what each plan allows. A relative path that is not there is looked for beside the program."""

    @property
    def is_loopback(self) -> bool:
        """True while only this machine can reach the server."""
        return values.is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What is taken from the web."""

    base_url: Url | None = optional("BASE_URL", values.url("http", "https"))
    """Address under which the world sees this server; with https:// browsers are told to stay on TLS (HSTS)."""
    frontend_url: Url | None = optional("FRONTEND_URL", values.url("http", "https"))
    """Where the links in mails lead; ``BASE_URL`` when absent."""
    allowed_origins: tuple[str, ...] = listed("ALLOWED_ORIGINS", values.origin())
    """Other web origins that may call the API with credentials. The server's own origin always may."""
    trusted_proxies: tuple[Network, ...] = listed("TRUSTED_PROXIES", values.network())
    """Proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed; nobody's by default."""
    max_body_bytes: int = setting("MAX_BODY", "10MiB", values.size(1024, "1GiB"))
    """Largest request body; a larger one is answered with 413."""
    header_timeout_s: float = setting("HEADER_TIMEOUT", "30s", values.duration(1, "10m"))
    """Longest time for a client to send a request's headers, and again for its body; ends trickling connections."""

    @property
    def is_tls(self) -> bool:
        """True when the world reaches the server over TLS."""
        return self.base_url is not None and self.base_url.startswith("https:")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where data is kept and for how long."""

    database_url: Url = setting("DATABASE_URL", "sqlite:///data/devpocket.db", values.database_url())
    """The database. By default an SQLite file in ``DATA_DIR``, for one process; three slashes and a path count from
    the working directory, four are an absolute path. ``mongodb://`` is for many processes."""
    metrics_ttl_s: float = setting("METRICS_TTL", "30d", values.duration(3600, "365d"))
    """How long samples of CPU, memory, storage and network are kept."""
    logs_ttl_s: float = setting("LOGS_TTL", "7d", values.duration(3600, "365d"))
    """How long installation and life-cycle lines are kept."""
    audit_ttl_s: float = setting("AUDIT_TTL", "90d", values.duration(86400, "3650d"))
    """How long sign-ins, refusals and the acts of administrators are kept."""

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, or None where the database is a server."""
        text = str(self.database_url)
        return Path(text.removeprefix("sqlite:///")) if text.startswith("sqlite:///") else None


@dataclass(frozen=True, slots=True)
class BusSettings:
    """What processes share."""

    redis_url: Url | None = optional("REDIS_URL", values.url("redis", "rediss", "unix", needs_host=False))
    """Redis for events and limits that several processes share; without it both stay inside one process."""


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """Where environments live."""

    kind: RuntimeKind = setting("RUNTIME", "local", values.word(RuntimeKind))
    """Where environments run: sandboxes on this machine. The words docker and kubernetes are kept for those drivers."""
    sandbox: LocalSandbox = setting("LOCAL_SANDBOX", "bubblewrap", values.word(LocalSandbox))
    """What keeps local environments apart. ``none`` is no protection at all: for trying out, by one trusted person."""
    network: LocalNetwork = setting("LOCAL_NETWORK", "auto", values.word(LocalNetwork))
    """Network of a local environment: its own with internet (private), the host's (host), or nothing (none). ``auto``
    is private where that works, else host, and that only while the server listens on loopback."""
    uid_base: int | None = optional("LOCAL_UID_BASE", values.whole(1000, 2_000_000_000))
    """First of 20,000 host uids for environments when the server was started by root. Without it they begin at
    2000000000, or at 40000 where a container has no such uids."""
    start_timeout_s: float = setting("START_TIMEOUT", "2m", values.duration(1, "1h"))
    """Longest time in one phase of starting or stopping before the environment counts as stuck."""
    installation_timeout_s: float = setting("INSTALLATION_TIMEOUT", "30m", values.duration(10, "24h"))
    """Longest time for a template's start-up commands; whatever still runs then is ended and reported."""


@dataclass(frozen=True, slots=True)
class OwnershipSettings:
    """Leases and sweeps: who drives an environment, and how soon others notice."""

    lease_ttl_s: float = setting("LEASE_TTL", "10s", values.duration(2, "10m"))
    """How long an environment stays with a process that is silent. Renewed every third of it; after a crash another
    process takes over within this plus ``SWEEP_INTERVAL``."""
    sweep_interval_s: float = setting("SWEEP_INTERVAL", "2s", values.duration(0.1, "10m"))
    """How often each process looks for environments that nobody drives. Bounds the delay when events are lost."""
    orphan_sweep_interval_s: float = setting("ORPHAN_SWEEP_INTERVAL", "1m", values.duration(1, "24h"))
    """How often the rarer remains are looked for: sandboxes without a document and the other way round, records of
    terminals and removals of accounts that a dead process left."""
    idle_warning_s: float = setting("IDLE_WARNING", "2m", values.duration(1, "1h"))
    """How long before an idle stop its sockets are warned."""
    sample_interval_s: float = setting("SAMPLE_INTERVAL", "60s", values.duration(1, "1h"))
    """Time between two usage samples of an environment that nobody watches."""
    watched_sample_interval_s: float = setting("WATCHED_SAMPLE_INTERVAL", "15s", values.duration(1, "1h"))
    """Time between two usage samples while somebody watches."""


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Passwords, tokens, sign-in."""

    secret_keys: tuple[Secret, ...] = listed("SECRET_KEY", values.secret(32))
    """Keys for tokens. The first signs, the others are still believed, which is how a key is changed without signing
    everybody out. When absent, one is made at the first start and kept in the database."""
    access_token_lifetime_s: float = setting("ACCESS_TOKEN_LIFETIME", "12h", values.duration(10, "7d"))
    """How long an access token is good for. The app signs its user out when one runs out in use, hence hours."""
    refresh_token_lifetime_s: float = setting("REFRESH_TOKEN_LIFETIME", "30d", values.duration(60, "365d"))
    """How long a session lives without being used."""
    google_client_ids: tuple[str, ...] = listed("GOOGLE_CLIENT_ID", values.text_up_to(200))
    """Client ids whose Google ID tokens are taken; signing in with Google is off without one."""
    google_certificates_url: Url = setting(
        "GOOGLE_CERTIFICATES_URL", "https://www.googleapis.com/oauth2/v1/certs", values.url("http", "https")
    )
    """Where Google publishes the certificates of its keys; another one for a mirror, or for tests."""
    google_client_secret: Secret | None = optional("GOOGLE_CLIENT_SECRET", values.secret(1))
    """Belongs to the client id. Verifying ID tokens does not need it."""
    lockout_attempts: int = setting("LOCKOUT_ATTEMPTS", "5", values.whole(1, 1000))
    """Wrong passwords before sign-in is locked."""
    lockout_duration_s: float = setting("LOCKOUT_DURATION", "15m", values.duration(1, "24h"))
    """How long the lock lasts. Live sessions go on."""
    password_time_cost: int = setting("PASSWORD_TIME_COST", "2", values.whole(1, 20))
    """Passes of argon2id. Two with 19 MiB and one lane is what OWASP asks for at least; raise it on fast machines."""
    password_memory_bytes: int = setting("PASSWORD_MEMORY", "19MiB", values.size(8 * 1024, "4GiB"))
    """Memory that each hashing of a password takes."""
    password_workers: int = setting("PASSWORD_WORKERS", "1", values.whole(1, 64))
    """Passwords that are hashed at the same time. Keep a core free for terminals."""
    require_verified_email: bool = setting("REQUIRE_VERIFIED_EMAIL", "off", values.flag())
    """Makes creating an environment need a verified address. On by default where ``MAIL_URL`` is set, else off."""


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Outgoing mail."""

    mail_url: Url | None = optional("MAIL_URL", values.url("smtp", "smtps", "smtp+starttls"))
    """Mail server, ``smtp://user:password@host:587``: smtps is TLS from the start, smtp+starttls insists on STARTTLS,
    smtp takes it where offered. Without one, mails are written to ``DATA_DIR/mail``."""
    mail_from: str = setting("MAIL_FROM", "DevPocket <noreply@localhost>", values.text_up_to(200))
    """Sender of the mails."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much of everything."""

    max_requests: int = setting("RATE_LIMIT_MAX_REQUESTS", "600", values.whole(1, 1_000_000))
    """Requests per user (per address where nobody is signed in) in one window, and the largest burst."""
    window_s: float = setting("RATE_LIMIT_WINDOW", "1m", values.duration(1, "24h"))
    """The window of the request limit: an empty bucket is full again after it."""
    auth_max_requests: int = setting("AUTH_RATE_LIMIT_MAX_REQUESTS", "60", values.whole(1, 1_000_000))
    """Sign-in, registration and the like per address in one window. A carrier puts many phones behind one address,
    so guessing is stopped by the lockout, not here."""
    auth_window_s: float = setting("AUTH_RATE_LIMIT_WINDOW", "1m", values.duration(1, "24h"))
    """The window of the limit on sign-in calls."""
    sockets_per_user: int = setting("SOCKETS_PER_USER", "10", values.whole(1, 1000))
    """Sockets that one user may have open, of all kinds, over all processes; a plan may allow fewer."""
    socket_ping_interval_s: float = setting("SOCKET_PING_INTERVAL", "30s", values.duration(1, "10m"))
    """Time between the server's pings."""
    socket_idle_timeout_s: float = setting("SOCKET_IDLE_TIMEOUT", "2m", values.duration(2, "1h"))
    """A socket that is silent for so long, pongs included, is closed."""
    terminal_input_rate_bytes: int = setting("TERMINAL_INPUT_RATE", "256KiB", values.size(1024, "1GiB"))
    """Bytes a second that one terminal takes; a paste that is faster is slowed, never cut."""
    terminal_input_burst_bytes: int = setting("TERMINAL_INPUT_BURST", "64KiB", values.size(1024, "1GiB"))
    """Bytes that one terminal takes at once before the rate counts."""
    terminal_message_rate: int = setting("TERMINAL_MESSAGE_RATE", "200", values.whole(1, 100_000))
    """Messages a second that one terminal takes; the app sends every key as one message."""
    terminal_message_burst: int = setting("TERMINAL_MESSAGE_BURST", "400", values.whole(1, 100_000))
    """Messages that one terminal takes at once before the rate counts."""


@dataclass(frozen=True, slots=True)
class ObservationSettings:
    """Logs and figures for the operator."""

    log_level: LogLevel = setting("LOG_LEVEL", "INFO", values.word(LogLevel))
    """The least weighty lines that are written."""
    log_format: LogFormat = setting("LOG_FORMAT", "console", values.word(LogFormat))
    """Lines for people (console) or one JSON object a line (json)."""
    metrics_host: str = setting("METRICS_HOST", "127.0.0.1", values.host())
    """Address of the Prometheus port."""
    metrics_port: int | None = optional("METRICS_PORT", values.whole(0, 65535))
    """Own port for ``/metrics``; 0 takes a free one. With several processes each takes the next number."""
    metrics_token: Secret | None = optional("METRICS_TOKEN", values.secret(16))
    """Opens ``/metrics`` on the main port to whoever sends it as a bearer token."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set."""

    server: ServerSettings = field(default_factory=ServerSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    bus: BusSettings = field(default_factory=BusSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    ownership: OwnershipSettings = field(default_factory=OwnershipSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    mail: MailSettings = field(default_factory=MailSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    observation: ObservationSettings = field(default_factory=ObservationSettings)
    warnings: tuple[str, ...] = ()
    """Sentences for the operator about settings that work and are probably not what was meant."""
