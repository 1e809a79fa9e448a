"""Where the links of mails lead on a server without a frontend of its own: two forms without scripts.

Opening a link does nothing but show the form, because mail programs open links, too, to look for harm in them.
"""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import Any

from devpocket.domain.users import MAX_PASSWORD, MIN_PASSWORD
from devpocket.schemas.accounts import ResetPasswordRequest, VerifyEmailRequest
from handlers.base import BaseHandler
from handlers.operations import PUBLIC, operation
from handlers.paths import Route
from handlers.requests import load_form

_STYLE = """
body{font:18px/1.5 system-ui,sans-serif;max-width:28rem;margin:3rem auto;padding:0 1rem;color:#222;background:#fff}
input,button{font:inherit;box-sizing:border-box;width:100%;padding:.6rem;margin:.4rem 0;border-radius:6px}
input{border:1px solid #999}button{border:0;background:#2563eb;color:#fff}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_PASSWORD_FIELD = (
    f"<input type=password name=new_password autocomplete=new-password minlength={MIN_PASSWORD}"
    f' maxlength={MAX_PASSWORD} placeholder="New password" aria-label="New password" required autofocus>'
    "<p>At least 8 characters, with an upper-case letter, a lower-case letter and a digit.</p>"
)


class MailPageHandler(BaseHandler):
    """A form that a mail leads to; refusals are pages, too."""

    title: str

    def body(self) -> Any:
        """Return the sent form as the operation's schema loads it; MalformedRequestError, ValidationError."""
        operation = self._operation()
        assert operation is not None and operation.body is not None  # noqa: S101, PT018 - the verb is running
        return load_form(operation.body, self.request)

    def show_form(self, fields: str) -> None:
        """Show a form that sends ``fields`` and the token of the link to this same address."""
        token = escape(self.query()["token"])
        # Relative, so that it also leads back through a proxy that serves the server below a path.
        action = escape(self.request.path.rstrip("/").rpartition("/")[2])
        hidden = f'<input type=hidden name=token value="{token}">'
        self.show(f"<form method=post action={action}>{hidden}{fields}<button>{escape(self.title)}</button></form>")

    def show(self, content: str) -> None:
        """Show a page with ``content``, which is HTML."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", POLICY)
        self.finish(
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(self.title)}</title>"
            f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
            f"<h1>{escape(self.title)}</h1>{content}"
        )

    def write_refusal(self, body: Mapping[str, Any], status: int) -> None:
        """Show the sentence of a refusal."""
        self.set_status(status)
        self.show(f"<p>{escape(body['detail'])}</p><p>Go back and try again, or ask for another mail.</p>")


class VerifyEmailPageHandler(MailPageHandler):
    """The link of the verification mail."""

    title = "Verify my address"

    @operation("Show the button", allow=PUBLIC, query=VerifyEmailRequest, content_type="text/html", counts="other")
    async def get(self) -> None:
        """Show a button: nothing is verified by opening a link."""
        self.show_form("")

    @operation("Verify", allow=PUBLIC, body=VerifyEmailRequest, content_type="text/html", counts="auth")
    async def post(self) -> None:
        """Verify whoever was sent the token."""
        await self.backend.accounts.verify_email_link(**self.body(), origin=self.origin)
        self.show("<p>Your e-mail address is verified. You can go back to the app.</p>")


class ResetPasswordPageHandler(MailPageHandler):
    """The link of the reset mail."""

    title = "Choose a new password"

    @operation("Show the form", allow=PUBLIC, query=VerifyEmailRequest, content_type="text/html", counts="other")
    async def get(self) -> None:
        """Show a field for the new password."""
        self.show_form(_PASSWORD_FIELD)

    @operation("Set it", allow=PUBLIC, body=ResetPasswordRequest, content_type="text/html", counts="auth")
    async def post(self) -> None:
        """Set the password and end all sessions; the token works once."""
        await self.backend.accounts.reset_password(**self.body(), origin=self.origin)
        self.show("<p>Your password is changed. Sign in with the new one in the app.</p>")


ROUTES = (
    Route("/verify-email", VerifyEmailPageHandler),
    Route("/reset-password", ResetPasswordPageHandler),
)
