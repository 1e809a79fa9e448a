"""Headers that every answer has, and those for browsers of other origins."""

from collections.abc import Collection, Iterator

from actors.messages import RateLimitVerdict

CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
SECURITY = (
    ("Server", "DevPocket"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", CONTENT_POLICY),
    ("Cross-Origin-Resource-Policy", "same-site"),
    ("Cache-Control", "no-store"),
)
STRICT_TRANSPORT = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
_EXPOSED = "X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"
_ACCEPTED = "Authorization, Content-Type, X-Request-ID"
PREFLIGHT_AGE_S = 600


def cross_origin(origin: str | None, allowed: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what lets a page of ``origin`` read the answer, if it is exactly one of those ``allowed``.

    https://fetch.spec.whatwg.org/#http-cors-protocol
    """
    if allowed:
        yield "Vary", "Origin"
    if origin is not None and origin in allowed:
        yield "Access-Control-Allow-Origin", origin
        yield "Access-Control-Allow-Credentials", "true"
        yield "Access-Control-Expose-Headers", _EXPOSED


def preflight(origin: str | None, allowed: Collection[str], methods: str) -> Iterator[tuple[str, str]]:
    """Yield what a browser wants to know before it sends a request from another origin."""
    if origin is not None and origin in allowed:
        yield "Access-Control-Allow-Methods", methods
        yield "Access-Control-Allow-Headers", _ACCEPTED
        yield "Access-Control-Max-Age", str(PREFLIGHT_AGE_S)


def rate_limit(verdict: RateLimitVerdict | None) -> Iterator[tuple[str, str]]:
    """Yield the state of the caller's bucket; the reset in seconds since 1970."""
    if verdict is not None:
        yield "X-RateLimit-Limit", str(verdict.limit)
        yield "X-RateLimit-Remaining", str(verdict.remaining)
        yield "X-RateLimit-Reset", str(int(verdict.reset_at.timestamp()))
