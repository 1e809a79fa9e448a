"""``config/nginx.conf`` on a real nginx: what it hands on, and what it keeps out of its log."""

import asyncio
import json
import os
import re
import shutil
import signal
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

SOURCE = Path(__file__).parents[2] / "config" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
NAME = "devpocket.example.org"
PATIENCE_S = 10.0

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


class Mirror(RequestHandler):
    """Answers with what arrived of a request."""

    def answer(self, *_path: str) -> None:
        self.finish({"headers": dict(self.request.headers), "body_bytes": len(self.request.body)})

    get = post = answer


class Echo(WebSocketHandler):
    """Says everything once more."""

    def on_message(self, message) -> None:
        self.write_message(message)


@dataclass
class Proxy:
    """An nginx with the product's configuration before a mirror."""

    folder: Path
    tls_port: int
    plain_port: int

    @property
    def log(self) -> str:
        return (self.folder / "access.log").read_text()

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))

    def request(self, path: str, scheme: str = "https", **options) -> HTTPRequest:
        # The certificate is for the name; the connection goes to this machine.
        host = {"Host": f"{NAME}:{self.tls_port}"}
        url = f"{scheme}://localhost:{self.tls_port}{path}"
        return HTTPRequest(url, headers=host, ssl_options=self.trust, **options)

    async def fetch(self, path: str, **options) -> HTTPResponse:
        return await AsyncHTTPClient().fetch(self.request(path, **options), raise_error=False)


def free_port() -> int:
    listening, port = bind_unused_port()
    listening.close()
    return port


def write_certificate(folder: Path) -> None:
    """Make a key and a certificate for ``localhost`` that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "privkey.pem").write_bytes(private)


def as_tried_here(text: str, folder: Path, *, upstream: int, tls: int, plain: int) -> str:
    """Return the configuration with ports and paths of this test; each replacement has to find its place."""
    replacements = {
        r"server 127\.0\.0\.1:8000": f"server 127.0.0.1:{upstream}",
        r"listen 443 ssl": f"listen 127.0.0.1:{tls} ssl",
        r"listen 80;": f"listen 127.0.0.1:{plain};",
        r"/etc/ssl/devpocket/": f"{folder}/",
        r"/var/log/nginx/devpocket\.log": f"{folder}/access.log",
        r"/var/log/nginx/devpocket-error\.log": f"{folder}/error.log",
    }
    for pattern, replacement in replacements.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, f"{pattern} is not in {SOURCE.name}"
    return text


def write_main(folder: Path) -> Path:
    """Write what Debian's own nginx.conf does around a file of conf.d."""
    temporary = "".join(
        f"{each}_temp_path {folder}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "main.conf"
    main.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ {temporary} include {folder}/devpocket.conf; }}\n"
    )
    return main


@pytest.fixture
async def upstream() -> AsyncIterator[int]:
    listening, port = bind_unused_port()
    http = HTTPServer(Application([(r"/api/v1/ws/(.*)", Echo), (r"/(.*)", Mirror)]))
    http.add_socket(listening)
    yield port
    http.stop()
    await http.close_all_connections()


@pytest.fixture
async def proxy(tmp_path, upstream) -> AsyncIterator[Proxy]:
    proxy = Proxy(tmp_path, free_port(), free_port())
    write_certificate(tmp_path)
    ports = {"upstream": upstream, "tls": proxy.tls_port, "plain": proxy.plain_port}
    (tmp_path / "devpocket.conf").write_text(as_tried_here(SOURCE.read_text(), tmp_path, **ports))
    assert NGINX
    arguments = [NGINX, "-p", str(tmp_path), "-c", str(write_main(tmp_path))]
    checking = await asyncio.create_subprocess_exec(*arguments, "-t", stderr=asyncio.subprocess.PIPE)
    assert checking.stderr
    said = (await checking.stderr.read()).decode()
    assert await checking.wait() == 0, said
    assert "warn" not in said
    nginx = await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.DEVNULL)
    try:
        await until_listening(proxy.tls_port, nginx)
        yield proxy
    finally:
        nginx.send_signal(signal.SIGTERM)
        await nginx.wait()


async def until_listening(port: int, nginx: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            assert nginx.returncode is None, "nginx has ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return


async def test_a_request_arrives_with_where_it_came_from(proxy):
    arrived = json.loads((await proxy.fetch("/api/v1/info")).body)["headers"]
    assert arrived["X-Forwarded-For"] == "127.0.0.1"
    assert arrived["X-Forwarded-Proto"] == "https"
    assert arrived["Host"] == f"{NAME}:{proxy.tls_port}"


async def test_a_websocket_goes_through_and_its_token_stays_out_of_the_log(proxy):
    socket = await websocket_connect(proxy.request("/api/v1/ws/terminal/abc?token=very-secret", "wss"))
    await socket.write_message("ls\r")
    assert await asyncio.wait_for(socket.read_message(), PATIENCE_S) == "ls\r"
    socket.close()
    async with asyncio.timeout(PATIENCE_S):
        while "/api/v1/ws/terminal/abc" not in proxy.log:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)
    assert "very-secret" not in proxy.log


async def test_a_body_above_the_servers_limit_is_left_to_the_server(proxy):
    answer = await proxy.fetch("/api/v1/environments", method="POST", body=b"x" * (11 * 1024 * 1024))
    assert json.loads(answer.body)["body_bytes"] == 11 * 1024 * 1024


async def test_figures_are_not_for_the_world(proxy):
    assert (await proxy.fetch("/metrics")).code == 404


async def test_plain_http_leads_to_tls(proxy):
    request = HTTPRequest(
        f"http://127.0.0.1:{proxy.plain_port}/docs?x=1", headers={"Host": NAME}, follow_redirects=False
    )
    answer = await AsyncHTTPClient().fetch(request, raise_error=False)
    assert answer.code == 308
    assert answer.headers["Location"] == f"https://{NAME}/docs?x=1"
