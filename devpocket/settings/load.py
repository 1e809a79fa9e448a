"""Reading the settings: all problems at once, each with the name, the shape of the value and what is allowed."""

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, cast, get_type_hints

import environs
from dotenv.parser import Binding, parse_stream

import devpocket
from devpocket.errors import ConfigurationError
from devpocket.settings.model import RuntimeKind, Setting, Settings
from devpocket.settings.values import Kind, Url, listing

PROJECT_DIR = Path(devpocket.__file__).resolve().parent.parent
_SHOWN_CHARACTERS = 60
_CLOSE = 0.8
"""Similarity (of ``difflib``) from which a name counts as a slip of the pen."""


class _Variables(environs.Env):
    """environs over given variables instead of those of the process."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(eager=False)
        self._variables = variables
        self.add_parser("setting", _read)

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self._variables.get(env_key, default)


def load_settings(
    environ: Mapping[str, str] | None = None, dotenv: Path | None = None, *, given: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings from ``given`` (options of a command line), then ``environ``, then the file ``dotenv``.

    Without ``environ``: the variables of the process, and unless another file is named the first ``.env`` of the
    working directory and the program's folder. An empty variable counts as absent, because compose files and
    Kubernetes manifests pass unset ones on as empty ones. Raises :class:`ConfigurationError`, one line per problem.
    """
    if environ is None:
        environ = os.environ
        dotenv = dotenv or _find_dotenv()
    from_file, problems = _read_dotenv(dotenv) if dotenv else ({}, [])
    texts = {**_present(from_file), **_present(environ), **_present(given or {})}
    problems += [f"{name}: not a setting; did you mean {meant}?" for name, meant in _near_misses(from_file)]
    variables = _Variables(texts)
    settings = _build(variables)
    try:
        variables.seal()
    except environs.EnvValidationError as error:
        refused = cast("Mapping[str, list[str]]", error.error_messages)
        problems += [f"{name}: {message}" for name, messages in refused.items() for message in messages]
    else:
        settings = _fill_in(settings, texts)
        problems += _contradictions(settings)
    if problems:
        raise ConfigurationError(listing("The settings do not allow a start:", problems))
    return replace(settings, warnings=tuple(_warnings(settings, environ)))


def all_settings() -> Iterator[tuple[type, Field[Any], Setting]]:
    """Yield every setting with its concern and its field, in the order in which they are written down."""
    for concern in _concerns().values():
        for entry in fields(concern):
            yield concern, entry, entry.metadata["setting"]


def _concerns() -> dict[str, Any]:
    return {name: concern for name, concern in get_type_hints(Settings).items() if is_dataclass(concern)}


def _find_dotenv() -> Path | None:
    return next((path for path in (Path.cwd() / ".env", PROJECT_DIR / ".env") if path.is_file()), None)


def _read_dotenv(path: Path) -> tuple[dict[str, str], list[str]]:
    """Return what a file says, and a problem per line that says nothing; the line itself may hold a secret."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    texts, problems = {}, []
    for line in parse_stream(StringIO(content)):  # which does not interpolate: a $ in a password is a $
        is_blank = line.key is None and not line.error  # or a comment
        if line.key is not None and line.value is not None:
            texts[line.key] = line.value
        elif not is_blank:
            problems.append(f"{path}, line {_line_number(line)}: not NAME=value, or a quote that does not end")
    return texts, problems


def _line_number(line: Binding) -> int:
    """Return where what is said begins; python-dotenv counts empty lines before it to it."""
    text = line.original.string
    empty = text[: len(text) - len(text.lstrip())]
    return line.original.line + empty.count("\n")


def _present(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: text.strip() for name, text in variables.items() if text.strip()}


def _build(variables: _Variables) -> Settings:
    """Return the settings; what is wrong keeps its default here and is told when ``variables`` is sealed."""
    read: dict[type, dict[str, Any]] = {}
    for concern, entry, source in all_settings():
        value = variables.setting(source.name, source.default, kind=source.kind)
        if value is not None:
            read.setdefault(concern, {})[entry.name] = value
    return Settings(**{name: concern(**read.get(concern, {})) for name, concern in _concerns().items()})


def _read(text: str, kind: Kind[Any]) -> Any:
    """Return the value of ``text``, None for an absent one; the words of the error are safe to print."""
    if not text:
        return None
    try:
        return kind.read(text)
    except ValueError as error:
        raise environs.EnvError(f"{_shape(text, kind)}; allowed is {kind.allowed}") from error


def _shape(text: str, kind: Kind[Any]) -> str:
    """Describe a refused text: secrets by their length alone, URLs without what may be a password."""
    if kind.secret:
        return f"got {_length(text)}"
    shown = Url(text).masked if "@" in text or "?" in text else text
    shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
    return f"got {shown!a} ({_length(text)})"


def _length(text: str) -> str:
    return "1 character" if len(text) == 1 else f"{len(text)} characters"


def _near_misses(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield names that nobody reads, with the setting that was probably meant."""
    known = {source.name for _, _, source in all_settings()}
    for name in variables:
        close = difflib.get_close_matches(name.upper().removeprefix("DEVPOCKET_"), known, n=1, cutoff=_CLOSE)
        if close and name not in known:
            yield name, close[0]


def _fill_in(settings: Settings, texts: Mapping[str, str]) -> Settings:
    """Return the settings with the defaults that depend on others."""
    server, store, auth = settings.server, settings.store, settings.auth
    server = replace(server, data_dir=server.data_dir.absolute(), plans_file=_beside_program(server.plans_file))
    if "DATABASE_URL" not in texts:
        store = replace(store, database_url=Url(f"sqlite:///{server.data_dir / 'devpocket.db'}"))
    if "REQUIRE_VERIFIED_EMAIL" not in texts:
        auth = replace(auth, require_verified_email=settings.mail.mail_url is not None)
    return replace(settings, server=server, store=store, auth=auth)


def _beside_program(path: Path) -> Path:
    return path.absolute() if path.exists() or path.is_absolute() else PROJECT_DIR / path


def _contradictions(settings: Settings) -> Iterator[str]:
    """Yield what is wrong between settings that are right one by one."""
    server, limits, auth, observation = settings.server, settings.limits, settings.auth, settings.observation
    if settings.runtime.kind is not RuntimeKind.LOCAL:
        yield f"RUNTIME: the {settings.runtime.kind} driver is not part of this version; allowed is local"
    if server.processes > 1 and settings.store.sqlite_path:
        yield "PROCESSES: an SQLite database serves one process; set DATABASE_URL to mongodb://... for more"
    if limits.socket_idle_timeout_s <= limits.socket_ping_interval_s:
        yield "SOCKET_IDLE_TIMEOUT: must be longer than SOCKET_PING_INTERVAL, or healthy sockets are closed"
    if auth.access_token_lifetime_s > auth.refresh_token_lifetime_s:
        yield "ACCESS_TOKEN_LIFETIME: must not be longer than REFRESH_TOKEN_LIFETIME"
    if observation.metrics_port and observation.metrics_port == server.port:
        yield "METRICS_PORT: is the same as PORT; choose another, or use METRICS_TOKEN on the main port"


def _warnings(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    server = settings.server
    for name, meant in _near_misses(environ):
        yield f"{name} is not a setting; did you mean {meant}?"
    if server.debug and not server.is_loopback:
        yield "DEBUG is on while others can reach this server"
    if server.processes > 1 and settings.bus.redis_url is None:
        yield "PROCESSES is above 1 without REDIS_URL: limits count per process and changes are noticed by sweeps alone"
    if settings.auth.require_verified_email and settings.mail.mail_url is None:
        yield "REQUIRE_VERIFIED_EMAIL is on without MAIL_URL: mails are written to DATA_DIR/mail and sent to nobody"
