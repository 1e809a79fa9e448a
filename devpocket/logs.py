"""Logging: one chain of processors for our own lines and those of the libraries, and no secrets in either.

Secrets are kept out in three ways, all of them at the end of the chain, over everything that is about to be written:
values are hidden whose key *contains* a telling word, values of such query parameters inside any text, and whatever
looks like a JWT or a bearer credential, tracebacks included.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from devpocket.settings import LogFormat, LogLevel

HIDDEN = "***"
_TELLING = (
    "token",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "authorization",
    "secret",
    "cookie",
    "credential",
    "api_key",
    "apikey",
    "private_key",
    "secret_key",
    "kubeconfig",
)
_TELLING_WORDS = frozenset({"code", "key", "auth", "jwt", "otp", "pin", "pass", "pwd", "signature"})
"""Telling only as a whole word: ``code`` and ``resetCode``, but neither ``error_code`` nor ``keyboard``."""
_HARMLESS = frozenset({"error_code", "exit_code", "status_code", "close_code", "token_type"})
_WORDS = re.compile(r"[a-z]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_QUOTED = re.compile(r"""\s*['":]""")
_MAX_DEPTH = 6

_MAX_TEXT = 32 * 1024
"""Longer texts are cut: a log line is no place for a body, and scrubbing one costs time."""

# Every repetition has an upper bound, so that a hostile text costs no more than a long one.
_NAME = r"[\w.-]{0,40}?(?:token|password|passwd|secret|auth|code|key|jwt|state|signature|credential)[\w.-]{0,40}"
_QUERY = re.compile(rf"([?&;#]{_NAME}=)[^&\s\"'<>#;)\]}}]+", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{5,2000}\.[\w-]{1,4000}(?:\.[\w-]*)?")
_BEARER = re.compile(r"\b(bearer|basic)(\s{1,8})[\w.~+/=-]{8,}", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^/\s@\"']+(?=@)")
_ASSIGNED_TEXT = re.compile(
    r"""((?:token|password|passwd|secret|cookie|authorization)\w{0,40}["']?\s{0,8}[:=]\s{0,8})"""
    r"""("[^"\n]{0,4096}"|'[^'\n]{0,4096}')""",
    re.IGNORECASE,
)
_ASSIGNED_CODE = re.compile(r"""(\bcode["']?\s{0,8}[:=]\s{0,8}["']?)[0-9]{6}(?![0-9])""", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"((?:token|password|passwd|secret|cookie|authorization)\w{0,40}[\"']?\s{0,8}[:=]\s{0,8}[\"']?)"
    r"(?!\*\*\*)[^\s\"',;&})\]]{4,}",
    re.IGNORECASE,
)


class _Handler(logging.StreamHandler[TextIO]):
    """Names a line that cannot be written instead of printing it: what logging prints by itself is not scrubbed."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Say where the line came from."""
        error = sys.exc_info()[0]
        self.stream.write(f"a line of {record.name}:{record.lineno} could not be logged ({error})\n")


class _QuotesNothing(logging.Filter):
    """Takes out of Tornado's complaints about a request what they quote of it, which may be any header."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the line, and of the errors in it the words before what is quoted."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                _QUOTED.split(str(each), maxsplit=1)[0] if isinstance(each, Exception) else each for each in record.args
            )
        return True


_quotes_nothing = _QuotesNothing()


def configure_logging(level: LogLevel, log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send all lines of this process to ``stream`` (standard error by default). May be called again."""
    out = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = _Handler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last(log_format, out)],
        )
    )
    root = logging.getLogger()
    for former in root.handlers[:]:
        if isinstance(former, _Handler):
            root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level.value)
    logging.captureWarnings(capture=True)
    logging.getLogger("tornado.general").addFilter(_quotes_nothing)
    _quiet(level)


def scrub_text(text: str) -> str:
    """Return ``text`` without what looks like a secret: query parameters, JWTs, credentials, passwords in URLs."""
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}... ({len(text)} characters)"
    text = _QUERY.sub(rf"\g<1>{HIDDEN}", text)
    text = _JWT.sub(HIDDEN, text)
    text = _BEARER.sub(rf"\g<1>\g<2>{HIDDEN}", text)
    text = _USER_INFO.sub(HIDDEN, text)
    text = _ASSIGNED_TEXT.sub(rf'\g<1>"{HIDDEN}"', text)
    text = _ASSIGNED_CODE.sub(rf"\g<1>{HIDDEN}", text)
    return _ASSIGNED.sub(rf"\g<1>{HIDDEN}", text)


def scrub_value(key: str, value: Any, depth: int = 0) -> Any:
    """Return ``value`` as it may be written under ``key``."""
    if value is None or isinstance(value, bool):
        return value
    if is_telling(key):
        return HIDDEN
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, bytes | bytearray | BaseException):
        return scrub_text(str(value) if isinstance(value, BaseException) else ascii(bytes(value)))
    if depth >= _MAX_DEPTH:
        return scrub_text(repr(value))
    if isinstance(value, Mapping):
        return {str(name): scrub_value(str(name), inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub_value("", inner, depth + 1) for inner in value]
    return value if isinstance(value, int | float) else scrub_text(str(value))


def is_telling(key: str) -> bool:
    """Tell whether a value is a secret by the name of its key."""
    name = _HUMP.sub("_", key).lower().replace("-", "_")
    if name in _HARMLESS:
        return False
    return any(part in name for part in _TELLING) or not _TELLING_WORDS.isdisjoint(_WORDS.findall(name))


def scrub(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Processor: hide secrets in every value of a line, its message included."""
    return {key: scrub_value(key, value) for key, value in line.items()}


def _shared() -> list[Processor]:
    """What our own and foreign lines go through alike."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _last(log_format: LogFormat, out: TextIO) -> list[Processor]:
    """Render: tracebacks become text first, so that they are scrubbed like everything else."""
    if log_format is LogFormat.JSON:
        return [
            structlog.processors.EventRenamer("message"),
            structlog.processors.format_exc_info,
            scrub,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ]
    return [
        structlog.processors.format_exc_info,
        scrub,
        _one_line,
        structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback),
    ]


def _one_line(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Processor: keep a message from forging further lines or sending escape sequences to the operator's terminal."""
    message = str(line.get("event", ""))
    line["event"] = _CONTROL.sub(lambda match: ascii(match.group())[1:-1], message)
    return line


def _to_json(line: EventDict, **_kwargs: Any) -> str:
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _quiet(level: LogLevel) -> None:
    """Keep libraries down that say a lot: their chatter at INFO is our DEBUG, and their access log is ours to write."""
    for name in ("tornado.access", "asyncio", "pymongo", "pykka", "aiosqlite", "mail.log", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING if level is not LogLevel.DEBUG else logging.INFO)
