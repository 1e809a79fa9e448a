"""The outbox: takes a mail at once, stores it, delivers it, and tries again while delivering it makes sense."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from devpocket.clock import Clock
from devpocket.errors import UnavailableError
from devpocket.ids import UserId
from devpocket.mail.file import FileSender
from devpocket.mail.messages import Mail, compose, parse_sender
from devpocket.mail.pending import MailState, OutboxStore, PendingMail, Seal
from devpocket.mail.sender import DeliveryError, Sender
from devpocket.mail.settings import MailSettings
from devpocket.mail.smtp import SmtpSender, parse_mail_url
from devpocket.metrics import MailOutcome

_log = structlog.get_logger(__name__)


def make_sender(settings: MailSettings) -> Sender:
    """Return the way out that the settings name: SMTP with a ``mail_url``, else files.

    Raises :class:`~devpocket.errors.ConfigurationError` for a URL that names no mail server, and for a sender that is
    no address.
    """
    address = parse_sender(settings.sender).addr_spec
    if settings.mail_url:
        server = parse_mail_url(settings.mail_url)
        return SmtpSender(server, sender=address, timeout_s=settings.timeout_s)
    return FileSender(settings.directory, keep=settings.keep_files, show_codes=settings.show_codes)


class Outbox:
    """Owns two tasks: one stores what was posted, one delivers what is due. Started and closed once by its owner."""

    def __init__(
        self,
        settings: MailSettings,
        store: OutboxStore,
        sender: Sender,
        clock: Clock,
        report: Callable[[MailOutcome], None] = lambda _outcome: None,
    ) -> None:
        """``report`` is told what becomes of each mail, each time one is tried."""
        self._report = report
        self._sent = MailOutcome.WRITTEN if isinstance(sender, FileSender) else MailOutcome.SENT
        self._settings = settings
        self._store = store
        self._sender = sender
        self._clock = clock
        self._from = parse_sender(settings.sender)
        self._seal = Seal(settings.keys)
        self._posted: asyncio.Queue[PendingMail] = asyncio.Queue(settings.queue_limit)
        self._wake = asyncio.Event()
        self._closing = False
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self) -> None:
        """Begin storing and delivering; mails of an earlier run that are due go first."""
        self._tasks = (
            asyncio.create_task(self._store_posted(), name="outbox-storing"),
            asyncio.create_task(self._deliver_until_closing(), name="outbox-delivery"),
        )

    def post(self, mail: Mail, user_id: UserId) -> bool:
        """Take a mail for delivery and return at once; it never fails and never waits.

        Tells whether it was taken: not while too many wait, which the log says.
        """
        try:
            self._posted.put_nowait(self._seal.close(mail, user_id, self._clock.now()))
        except asyncio.QueueFull:
            _log.error("mail_dropped", kind=mail.kind.value, reason="too many mails wait to be stored")
            self._report(MailOutcome.DROPPED)
            return False
        return True

    async def forget(self, address: str) -> None:
        """Remove what is kept of mails to ``address``: the account is gone, and the stored mails with it."""
        await self._sender.forget(address)

    async def close(self, grace_s: float = 3.0) -> None:
        """Store what was posted, give deliveries that run ``grace_s`` to end, and stop. Closing twice is harmless.

        A delivery that is cut off is tried again by whoever runs next.
        """
        self._closing = True
        self._wake.set()
        tasks, self._tasks = self._tasks, ()
        if not tasks:
            return
        delivery = tasks[-1]
        try:
            async with asyncio.timeout(grace_s):
                await self._posted.join()
                await delivery
        except TimeoutError:
            _log.warning("outbox_cut_off", waiting=self._posted.qsize())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _store_posted(self) -> None:
        while True:
            pending = await self._posted.get()
            await self._insert(pending)
            self._posted.task_done()
            self._wake.set()

    async def _insert(self, pending: PendingMail) -> None:
        """Store one mail, however long the store is away; the queue holds back those behind it."""
        while True:
            try:
                await self._store.insert(pending)
            except UnavailableError as error:
                _log.warning("mail_not_stored_yet", mail_id=pending.id, detail=error.detail or error.public)
                await asyncio.sleep(self._settings.poll_s)
            except Exception:
                _log.exception("mail_not_stored", mail_id=pending.id, kind=pending.kind.value)
                return
            else:
                return

    async def _deliver_until_closing(self) -> None:
        while not self._closing:
            self._wake.clear()
            try:
                if await self._deliver_batch():
                    continue
            except UnavailableError as error:
                _log.warning("outbox_store_unavailable", detail=error.detail or error.public)
            except Exception:
                _log.exception("outbox_failed")
            await self._pause()

    async def _deliver_batch(self) -> bool:
        """Try the mails that are due, a few side by side; tell whether there were any."""
        now = self._clock.now()
        until = now + timedelta(seconds=self._settings.claim_s)
        batch = await self._store.claim_due(now, until, self._settings.parallel)
        outcomes = await asyncio.gather(*map(self._deliver, batch), return_exceptions=True)
        for pending, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, BaseException):  # claimed until later, so it is tried again then
                _log.error("mail_outcome_unknown", mail_id=pending.id, exc_info=outcome)
        return bool(batch)

    async def _deliver(self, pending: PendingMail) -> None:
        """Try one mail and store what came of it."""
        try:
            mail = self._seal.open(pending)
        except ValueError as error:
            await self._store.save(self._failed(pending, str(error)))
            return
        try:
            message = compose(mail, sender=self._from, mail_id=pending.id, created_at=pending.created_at)
            await self._sender.send(mail, message)
        except ValueError as error:
            outcome = self._failed(pending, f"{type(error).__name__}: {error}")
        except DeliveryError as error:
            outcome = self._failed(pending, str(error)) if error.is_permanent else self._retried(pending, str(error))
        else:
            _log.info("mail_sent", mail_id=pending.id, kind=pending.kind.value, tries=pending.tries + 1)
            self._report(self._sent)
            outcome = pending.done(MailState.SENT, self._kept_until())
        if not await self._store.save(outcome):
            await self._sender.withdraw(pending.id)

    def _retried(self, pending: PendingMail, reason: str) -> PendingMail:
        wait_s = min(self._settings.first_retry_s * 2.0 ** min(pending.tries, 30), self._settings.max_retry_s)
        due_at = self._clock.now() + timedelta(seconds=wait_s)
        if due_at >= pending.give_up_at:
            return self._failed(pending, f"no more tries: {reason}")
        _log.warning(
            "mail_delayed", mail_id=pending.id, kind=pending.kind.value, tries=pending.tries + 1, reason=reason
        )
        self._report(MailOutcome.RETRIED)
        return pending.retried(reason, due_at)

    def _failed(self, pending: PendingMail, reason: str) -> PendingMail:
        _log.error("mail_failed", mail_id=pending.id, kind=pending.kind.value, reason=reason)
        self._report(MailOutcome.DROPPED)
        return pending.done(MailState.FAILED, self._kept_until(), reason)

    def _kept_until(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self._settings.keep_s)

    async def _pause(self) -> None:
        """Wait for a new mail, for closing, or for the next poll."""
        try:
            async with asyncio.timeout(self._settings.poll_s):
                await self._wake.wait()
        except TimeoutError:
            return
