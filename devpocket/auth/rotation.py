"""What a presented refresh token means for its session (RFC 9700, 4.14.2: rotation with reuse detection). Pure.

The caller verifies the token, reads the session, asks :func:`decide_refresh` and does what it says:

* ``ROTATE``: store ``session.rotated(...)`` with compare-and-set, then answer; on a conflict read and decide again;
* ``REPEAT``: answer :meth:`~devpocket.auth.tokens.Tokens.repeat`, store nothing: the phone asked twice at once;
* ``END``: delete the session and write ``refresh_reuse`` into the audit: the token was copied;
* ``REFUSE``: nothing more than a refusal.
"""

import hmac
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import StrEnum

from devpocket.auth.tokens import TokenClaims, hash_token
from devpocket.domain.users import Session

GRACE_S = 10
"""How long after a rotation the token before may still come, from a retry that crossed the first answer."""


class RefreshDecision(StrEnum):
    """What to do about a presented refresh token."""

    ROTATE = "rotate"
    REPEAT = "repeat"
    END = "end"
    REFUSE = "refuse"


def decide_refresh(
    session: Session | None, presented: TokenClaims, successor_hashes: AbstractSet[str], now: datetime
) -> RefreshDecision:
    """Return what the token means for the session that its ``sid`` names (None: there is no such session any more).

    ``successor_hashes`` come from :meth:`~devpocket.auth.tokens.Tokens.successor_hashes`.
    """
    if session is None or session.user_id != presented.user_id or session.expires_at <= now:
        return RefreshDecision.REFUSE
    if hmac.compare_digest(session.token_hash, hash_token(presented.jti)):
        return RefreshDecision.ROTATE
    if session.token_hash in successor_hashes and _within_grace(session, now):
        return RefreshDecision.REPEAT
    return RefreshDecision.END


def _within_grace(session: Session, now: datetime) -> bool:
    return session.rotated_at is not None and now - session.rotated_at <= timedelta(seconds=GRACE_S)
