"""A signing key, a certificate endpoint over real HTTP, and every way in which Google's ID token can be wrong."""

import base64
import datetime as dt
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

AUDIENCE = "ios-app.apps.googleusercontent.com"
OTHER_AUDIENCE = "android-app.apps.googleusercontent.com"


class SigningKey:
    def __init__(self):
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .sign(self.private, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.public_pem = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


KEY, STRANGERS_KEY = SigningKey(), SigningKey()


class CertificateServer:
    """Gives ``status`` and ``body`` to everybody, and counts."""

    def __init__(self):
        self.status, self.body, self.cache_control = 200, json.dumps({"kid-1": KEY.certificate}), "public, max-age=300"
        self.hits = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.hits += 1
                body = server.body.encode()
                self.send_response(server.status)
                self.send_header("Cache-Control", server.cache_control)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/certs"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def claims(**changes):
    now = int(time.time())
    all_claims = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "sub": "1234567890",
        "email": "Alice@example.com",
        "email_verified": True,
        "name": "Alice <b>",
        "picture": "https://example.com/a.png",
        "iat": now,
        "exp": now + 3600,
    }
    return {name: value for name, value in (all_claims | changes).items() if value is not ...}


def signed(key=KEY, kid="kid-1", **changes):
    return jwt.encode(claims(**changes), key.private, algorithm="RS256", headers={"kid": kid})


def raw(header, payload):
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), b"")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def hmac_with_public_key():
    """Return the classic confusion: the published key taken as a shared secret."""
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"kid-1"}').rstrip(b"=")
    payload = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=")
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        header + b"." + payload, KEY.public_pem
    )
    return b".".join((header, payload, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


WRONG = {
    "another app's audience": lambda: signed(aud="other.apps.googleusercontent.com"),
    "no audience": lambda: signed(aud=...),
    "several audiences": lambda: signed(aud=[AUDIENCE, "x"]),
    "another issuer": lambda: signed(iss="https://accounts.example.com"),
    "no issuer": lambda: signed(iss=...),
    "expired": lambda: signed(iat=int(time.time()) - 7200, exp=int(time.time()) - 60),
    "no end": lambda: signed(exp=...),
    "not yet": lambda: signed(iat=int(time.time()) + 600),
    "end is text": lambda: signed(exp="tomorrow"),
    "address not verified": lambda: signed(email_verified=False),
    "verification unknown": lambda: signed(email_verified=...),
    "verification is a word": lambda: signed(email_verified="yes"),
    "verification is a one": lambda: signed(email_verified=1),
    "end is no number": lambda: signed(exp=float("nan")),
    "end has a fraction": lambda: signed(exp=time.time() + 600.5),
    "no address": lambda: signed(email=...),
    "address is null": lambda: signed(email=None),
    "no such address": lambda: signed(email="alice"),
    "address with a header": lambda: signed(email="a@example.com\r\nBcc: b@example.com"),
    "no subject": lambda: signed(sub=""),
    "endless subject": lambda: signed(sub="1" * 256),
    "signed by somebody else": lambda: signed(key=STRANGERS_KEY),
    "unknown key id": lambda: signed(kid="kid-2"),
    "key id is a list": lambda: raw({"alg": "RS256", "kid": []}, claims()),
    "alg none": lambda: raw({"alg": "none", "kid": "kid-1"}, claims()),
    "alg none without key id": lambda: raw({"alg": "none"}, claims()),
    "alg HS256 with the public key": hmac_with_public_key,
    "alg is a list": lambda: raw({"alg": ["RS256"], "kid": "kid-1"}, claims()),
    "signature gone": lambda: signed().rpartition(".")[0] + ".",
    "signature cut": lambda: signed()[:-10],
    "payload exchanged": lambda: _with_payload(signed(), claims(sub="999")),
    "header is a list": lambda: raw([], claims()),
    "deeply nested": lambda: raw_text("[" * 5000),
    "empty": lambda: "",
    "two dots": lambda: "..",
    "one word": lambda: "token",
    "not ASCII": lambda: "é.é.é",
    "lone surrogate": lambda: "a.b.\ud800",
    "1 MB": lambda: "x" * 10**6,
}


def raw_text(header):
    return base64.urlsafe_b64encode(header.encode()).decode() + ".e30.e30"


def _with_payload(token, payload):
    header, _, signature = token.split(".")
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    return f"{header}.{body}.{signature}"
