from ipaddress import ip_network
from pathlib import Path

import pytest

from devpocket.errors import ConfigurationError
from devpocket.settings import LocalNetwork, LogLevel, all_settings, load_settings

KEY = "k" * 32
OTHER_KEY = "o" * 40
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens


def problems(environ, dotenv=None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ, dotenv)
    return str(caught.value)


def test_nothing_has_to_be_set():
    settings = load_settings({})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8000)
    assert settings.store.sqlite_path == Path.cwd() / "data" / "devpocket.db"
    assert settings.bus.redis_url is None
    assert settings.auth.secret_keys == ()
    assert settings.server.plans_file.is_file()
    assert settings.warnings == ()


def test_everything_is_read_with_its_unit(tmp_path):
    settings = load_settings(
        {
            "DATA_DIR": str(tmp_path),
            "PORT": "0",
            "SECRET_KEY": f"{KEY}, {OTHER_KEY}",
            "ACCESS_TOKEN_LIFETIME": "1h",
            "REFRESH_TOKEN_LIFETIME": "7d",
            "MAX_BODY": "1MiB",
            "TERMINAL_INPUT_RATE": "10KB",
            "SWEEP_INTERVAL": "250ms",
            "LEASE_TTL": "15",
            "DEBUG": "Yes",
            "LOG_LEVEL": "debug",
            "LOCAL_NETWORK": "none",
            "GOOGLE_CLIENT_ID": "one.example,two.example",
            "ALLOWED_ORIGINS": "HTTPS://App.Example.org:443/, http://localhost:5173",
            "TRUSTED_PROXIES": "10.0.0.0/8,::1",
        }
    )
    assert settings.store.sqlite_path == tmp_path / "devpocket.db"
    assert settings.server.port == 0
    assert settings.auth.secret_keys == (KEY, OTHER_KEY)
    assert settings.auth.access_token_lifetime_s == 3600
    assert settings.auth.refresh_token_lifetime_s == 7 * 86400
    assert settings.http.max_body_bytes == 1 << 20
    assert settings.limits.terminal_input_rate_bytes == 10_000
    assert settings.ownership.sweep_interval_s == 0.25
    assert settings.ownership.lease_ttl_s == 15
    assert settings.server.debug
    assert settings.observation.log_level is LogLevel.DEBUG
    assert settings.runtime.network is LocalNetwork.NONE
    assert settings.auth.google_client_ids == ("one.example", "two.example")
    assert settings.http.allowed_origins == ("https://app.example.org", "http://localhost:5173")
    assert settings.http.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "80x"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "٣"),
        ("PORT", "1" * 5000),
        ("HOST", "not a host"),
        ("DATABASE_URL", "mysql://host/name"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "mongodb://"),
        ("REDIS_URL", "http://host"),
        ("REDIS_URL", "redis://host:port"),
        ("RUNTIME", "lxc"),
        ("LOCAL_SANDBOX", "chroot"),
        ("LOG_LEVEL", "loud"),
        ("ACCESS_TOKEN_LIFETIME", "0"),
        ("ACCESS_TOKEN_LIFETIME", "-1h"),
        ("ACCESS_TOKEN_LIFETIME", "1y"),
        ("ACCESS_TOKEN_LIFETIME", "8d"),
        ("ACCESS_TOKEN_LIFETIME", "nan"),
        ("MAX_BODY", "lots"),
        ("MAX_BODY", "2GiB"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "https://*.example.org"),
        ("ALLOWED_ORIGINS", "https://example.org/app"),
        ("ALLOWED_ORIGINS", "https://user@example.org"),
        ("ALLOWED_ORIGINS", "example.org"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "everybody"),
        ("MAIL_URL", "imap://host"),
        ("BASE_URL", "https://host:99999"),
        ("BASE_URL", "https://[::1"),
        ("DEBUG", "maybe"),
        ("PROCESSES", "0"),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", f"{KEY},short"),
        ("ENVIRONMENT", "two\nlines"),
    ],
)
def test_what_is_not_allowed_is_named_with_what_is(name, text):
    [line] = problems({name: text}).splitlines()
    assert line.startswith(f"{name}: got ")
    assert "allowed is " in line
    assert len(line) < 400


def test_all_problems_are_told_at_once():
    text = problems({"PORT": "x", "DATABASE_URL": "ftp://x", "MAX_BODY": "x", "SECRET_KEY": "x"})
    assert [line.partition(":")[0].strip() for line in text.splitlines()[1:]] == [
        "PORT",
        "MAX_BODY",
        "DATABASE_URL",
        "SECRET_KEY",
    ]


def test_secrets_show_neither_in_errors_nor_in_print():
    text = problems({"SECRET_KEY": "hunter2", "METRICS_TOKEN": "swordfish", "DATABASE_URL": "ftp://me:sesame@host/x"})
    assert "got 7 characters" in text
    settings = load_settings(
        {
            "SECRET_KEY": KEY,
            "GOOGLE_CLIENT_SECRET": "hunter2",
            "DATABASE_URL": "mongodb://me:sesame@one:1,two:2/name",
            "REDIS_URL": "redis://:swordfish@host/0",
            "MAIL_URL": "smtp://me:opensaysme@host",
        }
    )
    for shown in (text, repr(settings), str(settings)):
        for hidden in ("hunter2", "swordfish", "sesame", "opensaysme", KEY):
            assert hidden not in shown
    assert settings.auth.secret_keys[0] == KEY
    assert settings.store.database_url == "mongodb://me:sesame@one:1,two:2/name"


def test_the_environment_comes_before_the_file_and_empty_is_absent(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text(
        'PORT=1\nHOST="::1"  # a comment\nexport ENVIRONMENT=staging\nREDIS_URL=\nMETRICS_TOKEN=a$b${c}16characters\n'
    )
    settings = load_settings({"PORT": "2", "HOST": "  "}, dotenv)
    assert settings.server.port == 2
    assert settings.server.host == "::1"
    assert settings.server.environment == "staging"
    assert settings.bus.redis_url is None
    assert settings.observation.metrics_token == "a$b${c}16characters"


def test_the_process_reads_its_own_variables_and_the_file_of_its_folder(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("PORT=1\nENVIRONMENT=staging\nMAX_BODY=1MiB\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "2")
    monkeypatch.setenv("ENVIRONMENT", "testing")
    settings = load_settings(given={"PORT": "3"})
    assert (settings.server.port, settings.server.environment) == (3, "testing")
    assert settings.http.max_body_bytes == 1 << 20


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path, content):
    dotenv = tmp_path / ".env"
    if content is None:
        dotenv.mkdir()
    else:
        dotenv.write_bytes(content)
    text = problems({}, dotenv)
    assert text.startswith(f"{dotenv} cannot be read: ")
    assert len(text.splitlines()) == 1


def test_lines_of_the_file_that_say_nothing_are_told_by_number_together_with_the_rest(tmp_path):
    dotenv = tmp_path / ".env"
    text = '\ufeffHOST=::1\n# notes\nPORT 8001\nLOG_LEVEL=loud\n\nDEBUG\nSECRET_KEY="hunter2\n'
    dotenv.write_text(text, encoding="utf-8")
    text = problems({}, dotenv)
    assert "hunter2" not in text
    assert [line.strip() for line in text.splitlines()[1:]] == [
        f"{dotenv}, line 3: not NAME=value, or a quote that does not end",
        f"{dotenv}, line 6: not NAME=value, or a quote that does not end",
        f"{dotenv}, line 7: not NAME=value, or a quote that does not end",
        "LOG_LEVEL: got 'loud' (4 characters); allowed is one of DEBUG, INFO, WARNING, ERROR",
    ]


def test_a_slip_in_the_file_is_a_problem_and_in_the_surroundings_a_warning(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("SECRET_KEYS=x\nCOMPOSE_PROJECT_NAME=mine\n")
    assert problems({}, dotenv) == "SECRET_KEYS: not a setting; did you mean SECRET_KEY?"
    settings = load_settings({"DEVPOCKET_PORT": "tcp://10.0.0.1:80", "PATH": "/bin"})
    assert settings.warnings == ("DEVPOCKET_PORT is not a setting; did you mean PORT?",)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"RUNTIME": "kubernetes"}, "RUNTIME: the kubernetes driver is not part of this version"),
        ({"RUNTIME": "docker"}, "RUNTIME: the docker driver is not part of this version"),
        ({"PROCESSES": "2"}, "PROCESSES: an SQLite database serves one process"),
        ({"SOCKET_IDLE_TIMEOUT": "10s"}, "SOCKET_IDLE_TIMEOUT: must be longer than SOCKET_PING_INTERVAL"),
        ({"REFRESH_TOKEN_LIFETIME": "1h"}, "ACCESS_TOKEN_LIFETIME: must not be longer"),
        ({"METRICS_PORT": "8000"}, "METRICS_PORT: is the same as PORT"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ, words):
    assert words in problems(environ)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"DEBUG": "on", "HOST": EVERYWHERE}, "DEBUG is on"),
        ({"PROCESSES": "2", "DATABASE_URL": "mongodb://host/name"}, "without REDIS_URL"),
        ({"REQUIRE_VERIFIED_EMAIL": "on"}, "without MAIL_URL"),
    ],
)
def test_settings_that_are_probably_not_meant_are_warned_of(environ, words):
    [warning] = load_settings(environ).warnings
    assert words in warning


def test_verification_is_required_where_mails_are_sent():
    assert not load_settings({}).auth.require_verified_email
    assert load_settings({"MAIL_URL": "smtp://host"}).auth.require_verified_email
    assert not load_settings({"MAIL_URL": "smtp://host", "REQUIRE_VERIFIED_EMAIL": "no"}).auth.require_verified_email


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", True), ("::1", True), ("localhost", True), (EVERYWHERE, False), ("box", False)]
)
def test_whether_others_can_reach_it_follows_from_the_address(host, expected):
    assert load_settings({"HOST": host}).server.is_loopback is expected


def test_names_are_unique():
    names = [source.name for _, _, source in all_settings()]
    assert len(names) == len(set(names))
