"""Registration, sign-in, tokens, passwords, addresses."""

from actors.messages import ChangePassword, EndSession, ResendVerification, SignIn, VerifyEmail
from devpocket.domain.users import User
from devpocket.schemas.accounts import (
    ChangePasswordRequest,
    EmailRequest,
    GoogleRequest,
    LoginRequest,
    RefreshRequest,
    RegisterRequest,
    ResetPasswordRequest,
    TokenAnswer,
    UserAnswer,
    VerifyEmailRequest,
)
from devpocket.schemas.service import MessageAnswer
from handlers.base import BaseHandler
from handlers.operations import PUBLIC, operation
from handlers.paths import Route


class SignInHandler(BaseHandler):
    """Answers with tokens; the line in the log names whose they are."""

    signed_in: User | None = None

    def welcome(self, sign_in: SignIn) -> None:
        """Answer whoever has signed in."""
        self.signed_in = sign_in.user
        self.answer(sign_in)


class RegisterHandler(SignInHandler):
    """A new account, signed in at once."""

    @operation(
        "Make an account and sign in",
        allow=PUBLIC,
        body=RegisterRequest,
        answer=TokenAnswer,
        status=201,
        refuses=(409,),
        counts="auth",
    )
    async def post(self) -> None:
        """Answer with tokens; the address is verified later."""
        self.welcome(await self.backend.accounts.register(**self.body(), origin=self.origin))


class LoginHandler(SignInHandler):
    """Sign-in with a password."""

    @operation(
        "Sign in",
        allow=PUBLIC,
        body=LoginRequest,
        answer=TokenAnswer,
        refuses=(401, 403),
        counts="auth",
    )
    async def post(self) -> None:
        """Answer with tokens."""
        body = self.body()
        identifier, password = body["username_or_email"], body["password"]
        accounts = self.backend.accounts
        self.welcome(await accounts.login(identifier=identifier, password=password, origin=self.origin))


class RefreshHandler(SignInHandler):
    """The next pair of tokens."""

    @operation(
        "Trade a refresh token for the next pair",
        allow=PUBLIC,
        body=RefreshRequest,
        answer=TokenAnswer,
        refuses=(401, 403),
        counts="auth",
    )
    async def post(self) -> None:
        """Answer with tokens; the one that was sent is used up."""
        self.welcome(await self.backend.accounts.refresh(**self.body(), origin=self.origin))


class GoogleHandler(SignInHandler):
    """Sign-in with Google."""

    @operation(
        "Sign in with Google's ID token",
        allow=PUBLIC,
        body=GoogleRequest,
        answer=TokenAnswer,
        refuses=(401, 403, 409),
        counts="auth",
    )
    async def post(self) -> None:
        """Answer with tokens."""
        self.welcome(await self.backend.accounts.google(**self.body(), origin=self.origin))


class MeHandler(BaseHandler):
    """Who is signed in."""

    @operation("Say who is signed in", allow="account:read", answer=UserAnswer)
    async def get(self) -> None:
        """Answer with the account that the token belongs to."""
        self.answer(self.caller.user)


class LogoutHandler(BaseHandler):
    """The end of a session."""

    @operation("End this session", allow="account:read", answer=MessageAnswer)
    async def post(self) -> None:
        """Make the session's tokens stop working and close its sockets."""
        await self.ask_user(EndSession(self.caller.session_id, self.caller))
        self.answer({"message": "Signed out."})


class VerifyEmailHandler(BaseHandler):
    """The proof that an address is one's own."""

    @operation(
        "Verify the address with the six digits of the mail",
        allow="account:write",
        body=VerifyEmailRequest,
        answer=MessageAnswer,
        refuses=(400, 404),
    )
    async def post(self) -> None:
        """Match the digits against the signed-in user; one who is verified already hears the same."""
        await self.ask_user(VerifyEmail(self.caller, self.body()["token"]))
        self.answer({"message": "Your e-mail address is verified."})


class VerifyEmailLinkHandler(BaseHandler):
    """The same by the link of the mail, which works without being signed in."""

    @operation(
        "Verify the address with the token of the link",
        allow=PUBLIC,
        body=VerifyEmailRequest,
        answer=MessageAnswer,
        refuses=(400, 404),
        counts="auth",
    )
    async def post(self) -> None:
        """Verify whoever was sent the token."""
        await self.backend.accounts.verify_email_link(**self.body(), origin=self.origin)
        self.answer({"message": "Your e-mail address is verified."})


class ResendVerificationHandler(BaseHandler):
    """Another code."""

    @operation("Mail another code", allow="account:write", answer=MessageAnswer, refuses=(400, 429))
    async def post(self) -> None:
        """Mail another code, no more than once in 60 s."""
        await self.ask_user(ResendVerification())
        self.answer({"message": "A new code is on its way."})


class ChangePasswordHandler(BaseHandler):
    """Another password by somebody who knows the present one."""

    @operation(
        "Change the password",
        allow="account:write",
        body=ChangePasswordRequest,
        answer=MessageAnswer,
        refuses=(400, 403),
    )
    async def post(self) -> None:
        """Set it and end the other sessions."""
        await self.ask_user(ChangePassword(caller=self.caller, **self.body()))
        self.answer({"message": "Your password is changed. Other devices have been signed out."})


class ForgotPasswordHandler(BaseHandler):
    """Another password by somebody who has forgotten it: the mail."""

    @operation(
        "Mail a token for a new password",
        allow=PUBLIC,
        body=EmailRequest,
        answer=MessageAnswer,
        counts="auth",
    )
    async def post(self) -> None:
        """Answer the same whether there is such an account or not."""
        await self.backend.accounts.forgot_password(**self.body(), origin=self.origin)
        self.answer({"message": "If there is an account with this address, a mail is on its way to it."})


class ResetPasswordHandler(BaseHandler):
    """Another password by somebody who has forgotten it: the token of the mail."""

    @operation(
        "Set a new password with the token of the mail",
        allow=PUBLIC,
        body=ResetPasswordRequest,
        answer=MessageAnswer,
        refuses=(400,),
        counts="auth",
    )
    async def post(self) -> None:
        """Set it and end all sessions; the token works once."""
        await self.backend.accounts.reset_password(**self.body(), origin=self.origin)
        self.answer({"message": "Your password is changed. Sign in with the new one."})


ROUTES = (
    Route("/api/v1/auth/register", RegisterHandler),
    Route("/api/v1/auth/login", LoginHandler),
    Route("/api/v1/auth/refresh", RefreshHandler),
    Route("/api/v1/auth/google", GoogleHandler),
    Route("/api/v1/auth/me", MeHandler),
    Route("/api/v1/auth/profile", MeHandler),
    Route("/api/v1/auth/logout", LogoutHandler),
    Route("/api/v1/auth/verify-email", VerifyEmailHandler),
    Route("/api/v1/auth/verify-email/link", VerifyEmailLinkHandler),
    Route("/api/v1/auth/resend-verification", ResendVerificationHandler),
    Route("/api/v1/auth/change-password", ChangePasswordHandler),
    Route("/api/v1/users/change-password", ChangePasswordHandler),
    Route("/api/v1/auth/forgot-password", ForgotPasswordHandler),
    Route("/api/v1/auth/reset-password", ResetPasswordHandler),
)
