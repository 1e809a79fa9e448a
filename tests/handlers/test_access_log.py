"""What of a path is written down."""

import pytest

from handlers.access_log import shown_path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", "/"),
        ("/api/v1/auth/login", "/api/v1/auth/login"),
        ("/api/v1/openapi.json", "/api/v1/openapi.json"),
        ("/api/v1/environments/0123456789abcdef01234567/start", "/api/v1/environments/0123456789abcdef01234567/start"),
        ("/api/v1/auth/verify-email/123456", "/api/v1/auth/verify-email/*"),
        ("/reset-password/Zq7Hidden", "/reset-password/*"),
        ("/a%20b/%00", "/*/*"),
        ("/line\nfeed/\u202eevil", "/*/*"),
        ("/" + "x" * 33, "/*"),
        ("/a" * 40, "/a" * 11),
    ],
)
def test_plain_words_and_ids_are_shown(path: str, shown: str) -> None:
    assert shown_path(path) == shown
