"""nginx with the product's configuration before several servers, on loopback and without TLS; it can be reloaded."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.server import ROOT, wait_until

SOURCE = ROOT / "config" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_PLAIN_SERVER = re.compile(r"^server \{\n    listen 80;.*?^\}\n", re.MULTILINE | re.DOTALL)
_TLS_SETTING = re.compile(r"^    ssl_.*\n", re.MULTILINE)


class Nginx:
    """One nginx; ``reload`` makes it read its configuration again, as ``nginx -s reload`` does."""

    def __init__(self, folder: Path, upstreams: Sequence[int]) -> None:
        self._folder = folder
        self.port = free_port()
        folder.mkdir()
        (folder / "devpocket.conf").write_text(_as_used_here(folder, self.port, upstreams))
        temporary = " ".join(
            f"{each}_temp_path {folder}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "main.conf").write_text(
            f"{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
            f"events {{}}\nhttp {{ {temporary} include {folder}/devpocket.conf; }}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and return once it listens."""
        if NGINX is None:
            if os.environ.get("CI") == "true":
                pytest.fail("nginx is not installed; with CI=true it must be")
            pytest.skip("nginx is not installed")
        arguments = [NGINX, "-p", str(self._folder), "-c", str(self._folder / "main.conf")]
        self._process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: _listens(self.port), "the start of nginx")

    def reload(self) -> None:
        """Let new workers serve what comes from now on, and the old ones what is open."""
        assert self._process
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it, open connections or not."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(10)
            self._process = None


def _as_used_here(folder: Path, port: int, upstreams: Sequence[int]) -> str:
    """Return the product's configuration with these ports, without TLS; each replacement has to find its place."""
    servers = "\n".join(f"    server 127.0.0.1:{each} max_fails=0;" for each in upstreams)
    replacements = {
        _PLAIN_SERVER: "",
        _TLS_SETTING: "",
        re.compile(r"    server 127\.0\.0\.1:8000 max_fails=0;"): servers,
        re.compile(r"listen 443 ssl http2;"): f"listen 127.0.0.1:{port};",
        re.compile(r"/var/log/nginx/"): f"{folder}/",
    }
    text = SOURCE.read_text()
    for pattern, replacement in replacements.items():
        text, count = pattern.subn(replacement, text)
        assert count, f"{pattern.pattern} is not in {SOURCE.name}"
    return text


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
