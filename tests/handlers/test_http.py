"""Headers, methods, sizes and mistakes, over real connections."""

import contextlib
import json
import select
import socket
import time
from typing import Any

import httpx
import pytest

from tests.e2e.server import ServerProcess, wait_until
from tests.handlers.conftest import OTHER_ORIGIN, PROXY, Person, register

MAX_BODY = 10 * 1024 * 1024


def assert_refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check status and body of a refusal, and return the body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert isinstance(body["detail"], str)
    assert body["code"] == code
    assert body["path"] == answer.request.url.raw_path.decode()
    assert body["timestamp"].endswith("Z")
    assert body["context"] == {"request_id": answer.headers["x-request-id"]}
    return body


# --- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/docs", "/api/v1/auth/me"])
def test_every_answer_has_the_security_headers(api: httpx.Client, path: str) -> None:
    headers = api.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "strict-transport-security" not in headers
    assert "tornado" not in headers["server"].lower()


def test_behind_tls_browsers_are_told_to_stay_there(strict_server: ServerProcess) -> None:
    assert "max-age" in httpx.get(f"{strict_server.url}/health").headers["strict-transport-security"]


def test_a_trusted_proxy_says_that_it_speaks_tls(server: ServerProcess) -> None:
    said = {"X-Forwarded-Proto": "https"}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=PROXY)) as proxy:
        assert "strict-transport-security" in proxy.get(f"{server.url}/health", headers=said).headers
    assert "strict-transport-security" not in httpx.get(f"{server.url}/health", headers=said).headers


@pytest.mark.parametrize(
    ("given", "taken"), [("abc-123", True), ("x" * 65, False), ("a b", False), ("<script>", False)]
)
def test_a_sane_request_id_is_taken_over(api: httpx.Client, given: str, taken: bool) -> None:
    told = api.get("/health", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert (told == given) is taken
    assert told


def test_the_address_of_the_client_comes_through_trusted_proxies_only(server: ServerProcess) -> None:
    person = register(server)
    forwarded = {**person.headers, "X-Forwarded-For": "198.51.100.77"}
    body = {"username_or_email": person.username, "password": "Tr4in-tunnel"}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=PROXY)) as proxy:
        proxy.post(
            f"{server.url}/api/v1/auth/login", json=body, headers={"X-Forwarded-For": "203.0.113.5, 198.51.100.77"}
        )
    httpx.post(f"{server.url}/api/v1/auth/login", json=body, headers={"X-Forwarded-For": "6.6.6.6"})
    sessions = httpx.get(f"{server.url}/api/v1/users/me/sessions", headers=forwarded).json()
    assert {session["address"] for session in sessions} == {"127.0.0.1", "198.51.100.77"}
    assert [session["is_current"] for session in sessions].count(True) == 1


# --- CORS ------------------------------------------------------------------------------------------------------------


def test_an_allowed_origin_may_read_answers(api: httpx.Client) -> None:
    headers = api.get("/health", headers={"Origin": OTHER_ORIGIN}).headers
    assert headers["access-control-allow-origin"] == OTHER_ORIGIN
    assert headers["access-control-allow-credentials"] == "true"
    assert "Origin" in headers["vary"]
    assert "Retry-After" in headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{OTHER_ORIGIN}.evil.example", "http://app.example.org", "null", "*", ""]
)
def test_no_other_origin_may(api: httpx.Client, origin: str) -> None:
    headers = api.get("/health", headers={"Origin": origin}).headers
    assert not [name for name in headers if name.startswith("access-control")]
    assert "Origin" in headers["vary"]


def test_refusals_can_be_read_by_allowed_origins_too(api: httpx.Client) -> None:
    answer = api.get("/api/v1/auth/me", headers={"Origin": OTHER_ORIGIN})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == OTHER_ORIGIN


def test_a_preflight_is_answered_without_credentials(api: httpx.Client) -> None:
    asked = {"Origin": OTHER_ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = api.options("/api/v1/environments/", headers=asked)
    assert answer.status_code == 204
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    other = api.options("/api/v1/environments/", headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-methods" not in other.headers


# --- methods and addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nowhere/", "/api/v2/environments", "//", "/health/live/more"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_an_unknown_address_has_the_body_of_all_refusals(api: httpx.Client, method: str, path: str) -> None:
    answer = api.request(method, f"{api.base_url}{path}")
    assert_refused(answer, 404, "not_found")
    assert "connection" not in answer.headers  # it can be used again


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "TRACE", "PROPFIND", "HEAD"])
def test_an_unknown_method_names_those_that_there_are(api: httpx.Client, method: str) -> None:
    answer = api.request(method, "/api/v1/auth/login")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST, OPTIONS"
    if method != "HEAD":
        assert answer.json()["code"] == "method_not_allowed"


def test_head_is_get_without_the_body(api: httpx.Client, person: Person) -> None:
    got, headed = (api.request(method, "/api/v1/auth/me", headers=person.headers) for method in ("GET", "HEAD"))
    assert headed.status_code == got.status_code == 200
    assert headed.content == b""
    assert api.head("/api/v1/auth/me").status_code == 401


@pytest.mark.parametrize("path", ["/api/v1/environments", "/api/v1/templates", "/api/v1/clusters", "/health", "/docs"])
def test_both_forms_of_an_address_answer_without_a_redirect(api: httpx.Client, person: Person, path: str) -> None:
    assert api.get(path, headers=person.headers).status_code == 200
    assert api.get(f"{path}/", headers=person.headers).status_code == 200


def test_a_path_that_is_not_utf_8_is_refused(api: httpx.Client, person: Person) -> None:
    assert_refused(api.get("/api/v1/environments/%ff", headers=person.headers), 400, "malformed_request")


@pytest.mark.parametrize("environment_id", ["x", "a" * 24, "A" * 24, "%00", "..%2f..%2fetc", "a" * 5000])
def test_an_environment_that_cannot_be_is_not_found(api: httpx.Client, person: Person, environment_id: str) -> None:
    answer = api.get(f"/api/v1/environments/{environment_id}", headers=person.headers)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


HANDSHAKE = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize("missing", HANDSHAKE)
def test_a_socket_address_says_that_it_wants_a_websocket(api: httpx.Client, missing: str) -> None:
    headers = {name: value for name, value in HANDSHAKE.items() if name != missing}
    answer = api.get(f"/api/v1/ws/terminal/{'a' * 24}", headers=headers)
    assert_refused(answer, 426, "upgrade_required")
    assert (answer.headers["upgrade"], answer.headers["sec-websocket-version"]) == ("websocket", "13")
    assert_refused(api.get("/api/v1/ws/none", headers=headers), 404, "not_found")


def test_an_old_version_of_websocket_is_told_which_one_is_spoken(api: httpx.Client) -> None:
    answer = api.get(f"/api/v1/ws/terminal/{'a' * 24}", headers=HANDSHAKE | {"Sec-WebSocket-Version": "8"})
    assert_refused(answer, 426, "upgrade_required")


def test_a_handshake_with_large_headers_is_refused_in_words(api: httpx.Client) -> None:
    headers = HANDSHAKE | {"X-Padding": "x" * 65_536}
    assert_refused(api.get(f"/api/v1/ws/terminal/{'a' * 24}", headers=headers), 431, "headers_too_large")


# --- who asks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer " + "x" * 9000, "Bearer é"])
def test_without_a_good_token_nobody_is_signed_in(api: httpx.Client, header: str) -> None:
    answer = api.get("/api/v1/auth/me", headers=[(b"Authorization", header.encode())])
    assert_refused(answer, 401, answer.json()["code"])
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_refresh_token_is_no_access_token(api: httpx.Client, person: Person) -> None:
    answer = api.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {person.refresh_token}"})
    assert answer.status_code == 401


def test_a_bad_token_does_not_disturb_calls_that_need_none(api: httpx.Client) -> None:
    assert api.get("/api/v1/info", headers={"Authorization": "Bearer rubbish"}).status_code == 200


def test_a_plan_gives_no_rights_over_templates(api: httpx.Client, person: Person) -> None:
    assert_refused(api.post("/api/v1/templates/", headers=person.headers, json={}), 403, "missing_permission")


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_a_body_may_come_without_a_content_type(api: httpx.Client) -> None:
    answer = api.post("/api/v1/auth/login", content=b'{"username_or_email": "nobody", "password": "x"}')
    assert_refused(answer, 401, "incorrect_credentials")
    assert "incorrect" in answer.json()["detail"].lower()


def test_malformed_json_is_400(api: httpx.Client) -> None:
    assert_refused(api.post("/api/v1/auth/login", content=b"{"), 400, "malformed_request")


def test_wrong_fields_are_422_and_named(api: httpx.Client) -> None:
    body = assert_refused(api.post("/api/v1/auth/register", json={"username": 5}), 422, "invalid_request")
    assert {problem["field"] for problem in body["errors"]} == {"username", "email", "password"}


def test_a_body_that_is_too_large_is_refused_in_words(api: httpx.Client) -> None:
    answer = api.post("/api/v1/auth/login", content=b"x" * (MAX_BODY + 1))
    assert_refused(answer, 413, "payload_too_large")


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/nowhere"), ("PATCH", "/api/v1/auth/login")])
def test_so_is_one_for_which_there_is_no_verb(api: httpx.Client, method: str, path: str) -> None:
    answer = api.request(method, path, content=b"x" * (MAX_BODY + 1))
    assert_refused(answer, 413, "payload_too_large")


def test_so_is_one_that_does_not_say_how_large_it_is(api: httpx.Client, person: Person) -> None:
    pieces = (b"x" * 65536 for _ in range(MAX_BODY // 65536 + 2))
    answer = api.post("/api/v1/environments/", content=pieces, headers=person.headers)
    assert_refused(answer, 413, "payload_too_large")


def test_a_sender_who_asks_first_is_spared_the_sending(server: ServerProcess) -> None:
    announced = f"Content-Length: {MAX_BODY * 50}\r\nExpect: 100-continue\r\n\r\n"
    answer = talk(server, f"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\n{announced}".encode())
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"payload_too_large" in answer


def test_a_body_of_the_largest_size_is_read(api: httpx.Client) -> None:
    padding = " " * (MAX_BODY - 100)
    answer = api.post("/api/v1/auth/login", content=f'{{"username_or_email": "nobody", "password": "x"}}{padding}')
    assert answer.status_code == 401


def test_a_refused_sender_hears_why_after_a_large_body(api: httpx.Client) -> None:
    answer = api.post("/api/v1/environments/", content=b"x" * 5_000_000)
    assert_refused(answer, 401, "unauthenticated")


@pytest.mark.parametrize("size", [40_000, 100_000])
def test_headers_that_are_too_large_are_refused_in_words(api: httpx.Client, size: int) -> None:
    answer = api.get("/health", headers={"X-Padding": "x" * size})
    assert_refused(answer, 431, "headers_too_large")


def test_a_body_that_stops_half_way_is_answered(strict_server: ServerProcess) -> None:
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    answer = talk(strict_server, head + b'{"username')
    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request_timeout"


def test_headers_that_trickle_do_not_hold_a_connection(strict_server: ServerProcess) -> None:
    began = time.monotonic()
    assert talk(strict_server, b"GET /health HTTP/1.1\r\nHost: ") == b""
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "start",
    [b"GET /health HTTP/1.1\r\nX: ", b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"],
    ids=["headers", "body"],
)
def test_a_hundred_tricklers_leave_the_server_answering(strict_server: ServerProcess, start: bytes) -> None:
    address = ("127.0.0.1", strict_server.port)
    with contextlib.ExitStack() as stack:
        trickling = {stack.enter_context(socket.create_connection(address)) for _ in range(100)}
        for connection in trickling:
            connection.sendall(start)
        began = time.monotonic()
        while trickling:
            assert time.monotonic() - began < 20, f"{len(trickling)} are still there"
            assert httpx.get(f"{strict_server.url}/health/live", timeout=5).status_code == 200
            ended, _, _ = select.select(list(trickling), [], [], 1.0)
            trickling -= set(ended)
            for connection in trickling:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(b" ")


@pytest.mark.parametrize(
    "start",
    [b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"],
)
def test_what_is_no_http_is_refused(server: ServerProcess, start: bytes) -> None:
    assert talk(server, start).startswith((b"HTTP/1.1 400", b"HTTP/1.1 4", b""))
    assert httpx.get(f"{server.url}/health").status_code == 200


def talk(server: ServerProcess, said: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(said)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_a_client_that_hangs_up_in_its_body_is_written_down(server: ServerProcess) -> None:
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nX-Request-ID: hung-up\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head + b"{")
    wait_until(lambda: b'"request_id":"hung-up"' in server.output.read_bytes(), "the line of the abandoned request")
