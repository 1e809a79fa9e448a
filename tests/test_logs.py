"""No secret reaches the log, whoever writes it and whatever it hides in."""

import io
import json
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from devpocket.logs import configure_logging, is_telling, scrub_text
from devpocket.settings import LogFormat, LogLevel

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0NzExIn0.c2lnbmF0dXJlLW9mLWl0"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@contextmanager
def written(log_format: LogFormat, level: LogLevel = LogLevel.INFO) -> Iterator[io.StringIO]:
    out = io.StringIO()
    logging.getLogger().handlers.clear()  # those of the test runner
    configure_logging(level, log_format, out)
    yield out


@pytest.mark.parametrize("log_format", LogFormat)
def test_secrets_are_hidden_by_key_in_own_and_foreign_lines(log_format):
    secrets = {
        "password": "hunter2-a",
        "new_password": "hunter2-b",
        "access_token": "hunter2-c",
        "Authorization": "hunter2-d",
        "Set-Cookie": "hunter2-e",
        "GOOGLE_CLIENT_SECRET": "hunter2-f",
        "code": "hunter2-g",
        "reset_code": "hunter2-h",
        "secret_key": "hunter2-i",
        "kubeconfig": "hunter2-j",
        "api_key": "hunter2-k",
        "verificationCode": "hunter2-l",
        "REFRESH-Token": "hunter2-m",
        "newPassword": "hunter2-n",
        "apiKey": "hunter2-o",
        "pwd": "hunter2-p",
    }
    with written(log_format) as out:
        structlog.get_logger("ours").info("own", **secrets)
        structlog.get_logger("ours").info("nested", body={"user": {"list": [secrets, (secrets,)]}})
        logging.getLogger("theirs").warning("foreign", extra=secrets)
    assert "hunter2" not in out.getvalue()
    assert out.getvalue().count("***") >= 4 * len(secrets)


@pytest.mark.parametrize("log_format", LogFormat)
def test_secrets_are_hidden_in_messages_arguments_and_tracebacks(log_format):
    with written(log_format) as out:
        foreign = logging.getLogger("tornado.general")
        foreign.warning("GET /api/v1/ws/terminal/1?token=%s&follow=true", JWT)
        foreign.warning("headers: %s", {"Authorization": f"Bearer {JWT}", "Cookie": "session=hunter2"})
        try:
            int(f"mongodb://me:hunter2@host/x with {JWT}")
        except ValueError:
            foreign.exception("failed for ?code=hunter2")
            structlog.get_logger("ours").exception("failed", url="https://host/verify?token=hunter2#x")
        structlog.get_logger("ours").error("failed", reason=ValueError("password=hunter2 is wrong"))
        structlog.get_logger("ours").error("bytes", body=b"refresh_token=hunter2")
    text = out.getvalue()
    assert "hunter2" not in text
    assert JWT not in text
    assert JWT.split(".")[1] not in text
    assert "follow=true" in text
    assert "Traceback" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/ws/1?token=abc.def", "/ws/1?token=***"),
        ("/ws/1?a=1&token=abc&b=2", "/ws/1?a=1&token=***&b=2"),
        ("/x?ACCESS_TOKEN=abc", "/x?ACCESS_TOKEN=***"),
        ("redirect to https://h/cb?code=4/0A&state=xyz end", "redirect to https://h/cb?code=***&state=*** end"),
        ("smtp://me:pass@host:25", "smtp://***@host:25"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: *** ***"),
        (f"<{JWT}>", "<***>"),
        ('{"password": "my own words", "a": 1}', '{"password": "***", "a": 1}'),
        ("{'newPassword': 'x y', 'Token':'z'}", """{'newPassword': "***", 'Token':"***"}"""),
        ('{"code": "123456"} code=123456 exit code: 1', '{"code": "***"} code=*** exit code: 1'),
        ("two words, no harm: exit_code=1", "two words, no harm: exit_code=1"),
        ("https://host/environments?limit=5&status=running", "https://host/environments?limit=5&status=running"),
    ],
)
def test_texts_lose_their_secrets_and_nothing_else(text, expected):
    assert scrub_text(text) == expected


@pytest.mark.parametrize(
    "piece",
    ["token", "&token", "-eyJaaaaa.", "eyJ", "bearer ", "://a", "?a", "password: ", " \t", "password:'", 'token="'],
)
def test_a_hostile_text_costs_no_more_than_a_long_one(piece):
    began_s = time.perf_counter()
    scrub_text("?" + piece * (1_000_000 // len(piece)))
    assert time.perf_counter() - began_s < 1


@pytest.mark.parametrize("key", ["environment_id", "keyboard", "exit_code", "statusCode", "user", "route", "state"])
def test_keys_that_tell_nothing_keep_their_values(key):
    assert not is_telling(key)


def test_json_lines_carry_what_is_bound():
    with written(LogFormat.JSON) as out:
        structlog.contextvars.bind_contextvars(request_id="r1", user_id="u1")
        structlog.get_logger("devpocket.x").info("request.ended", status=200, duration_s=0.25, none=None)
        logging.getLogger("pymongo").warning("slow %d", 3)
    own, foreign = map(json.loads, out.getvalue().splitlines())
    assert own.pop("timestamp").endswith("Z")
    assert own == {
        "message": "request.ended",
        "status": 200,
        "duration_s": 0.25,
        "none": None,
        "level": "info",
        "logger": "devpocket.x",
        "request_id": "r1",
        "user_id": "u1",
    }
    assert (foreign["message"], foreign["logger"], foreign["request_id"]) == ("slow 3", "pymongo", "r1")


def test_a_message_cannot_forge_lines_or_send_escapes():
    for log_format in LogFormat:
        with written(log_format) as out:
            structlog.get_logger("ours").info("name: a\nERROR forged \x1b[31m", name="b\nERROR forged")
        assert len(out.getvalue().splitlines()) == 1
        assert "\x1b[31m" not in out.getvalue()


def test_the_level_holds_for_own_and_foreign_lines():
    with written(LogFormat.CONSOLE, LogLevel.WARNING) as out:
        structlog.get_logger("ours").info("quiet")
        logging.getLogger("theirs").info("quiet")
        structlog.get_logger("ours").warning("loud")
    assert "quiet" not in out.getvalue()
    assert "loud" in out.getvalue()


def test_configuring_twice_writes_every_line_once():
    with written(LogFormat.CONSOLE) as first:
        second = io.StringIO()
        configure_logging(LogLevel.INFO, LogFormat.CONSOLE, second)
        structlog.get_logger("ours").info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_a_line_that_cannot_be_written_is_named_and_not_shown():
    with written(LogFormat.CONSOLE) as out:
        logging.getLogger("theirs").warning("%d hunter2", "hunter2")
    assert "a line of theirs:" in out.getvalue()
    assert "hunter2" not in out.getvalue()


def test_warnings_of_python_are_logged():
    with written(LogFormat.CONSOLE) as out, warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("something is old", UserWarning, stacklevel=1)
    assert "something is old" in out.getvalue()
