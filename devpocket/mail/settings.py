"""What the mails need to know."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Where mails go, whom they are from, and how long delivery is tried."""

    directory: Path
    """Where mails are written while there is no mail server."""
    keys: tuple[bytes, ...] = field(repr=False)
    """Seal waiting mails, which hold codes in clear: the first seals, all open."""
    mail_url: str | None = field(default=None, repr=False)
    """See :func:`devpocket.mail.smtp.parse_mail_url`; None writes files."""
    sender: str = "DevPocket <noreply@localhost>"
    """The From header."""
    frontend_url: str = "http://localhost:8000"
    """Where the links lead."""
    show_codes: bool = False
    """Name the six digits in the log beside the file's name; for developers alone."""
    timeout_s: float = 10.0
    """For connecting to the mail server, and for each of its answers; a whole delivery may take three times as long."""
    parallel: int = 4
    """Deliveries at once."""
    queue_limit: int = 1000
    """Mails that wait in memory to be stored; beyond that, new ones are dropped with an error in the log."""
    poll_s: float = 5.0
    """How often the store is asked for mails that are due: retries, and those of processes that died."""
    claim_s: float = 60.0
    """How long a mail is one process's to deliver; after that another tries."""
    first_retry_s: float = 5.0
    """Wait after the first failure; it doubles with each."""
    max_retry_s: float = 3600.0
    """The longest wait between two tries."""
    keep_s: float = 3 * 24 * 3600
    """How long the record of a mail is kept after it was sent or given up; its text goes at once."""
    keep_files: int = 1000
    """Newest files kept in ``directory``."""
