"""The outbox: takes mails at once, delivers each, and keeps trying through outages of server and store."""

import asyncio
import json
import socket
import time
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from devpocket.clock import SystemClock
from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.ids import UserId
from devpocket.mail.file import FileSender
from devpocket.mail.messages import Messages
from devpocket.mail.outbox import Outbox, make_sender
from devpocket.mail.pending import MailState, Seal
from devpocket.mail.settings import MailSettings
from devpocket.mail.smtp import SmtpSender
from devpocket.metrics import MailOutcome
from tests.auth.clocks import START, SetClock
from tests.mail.servers import Mailbox, smtp_server

KEY = b"k" * 32
USER = UserId("u" * 24)
MAIL = Messages("https://dev.example.com").verification("alice@example.org", "Alice", "012345", "secret-token")


class MemoryStore:
    """What the outbox asks of a store, over a dictionary; ``is_down`` makes it answer like a database that is away."""

    def __init__(self):
        self.mails = {}
        self.changed = asyncio.Condition()
        self.is_down = False
        self.refused = asyncio.Event()

    async def insert(self, mail):
        if self.is_down:
            self.refused.set()
        await self._note(mail)

    async def claim_due(self, now, until, limit):
        self._check()
        due = [mail for mail in self.mails.values() if mail.state is MailState.PENDING and mail.due_at <= now][:limit]
        for mail in due:
            self.mails[mail.id] = replace(mail, due_at=until, version=mail.version + 1)
        return [self.mails[mail.id] for mail in due]

    async def save(self, mail):
        if mail.id not in self.mails:
            return False
        if self.mails[mail.id].version == mail.version:
            await self._note(replace(mail, version=mail.version + 1))
        return True

    async def wait_until(self, condition):
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: condition(list(self.mails.values())))

    async def _note(self, mail):
        self._check()
        async with self.changed:
            self.mails[mail.id] = mail
            self.changed.notify_all()

    def _check(self):
        if self.is_down:
            raise UnavailableError("The database does not answer.")


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def settings(tmp_path):
    return MailSettings(tmp_path / "mail", (KEY,), poll_s=0.02, first_retry_s=0.01, max_retry_s=0.02, timeout_s=2)


@pytest.fixture
async def open_outbox(store, settings):
    opened = []

    def open_one(**changes):
        changed = replace(settings, **changes)
        outbox = Outbox(changed, store, make_sender(changed), SystemClock())
        outbox.start()
        opened.append(outbox)
        return outbox

    yield open_one
    for outbox in opened:
        await outbox.close(grace_s=0.1)


def all_in(state):
    return lambda mails: mails and all(mail.state is state for mail in mails)


async def test_a_posted_mail_is_delivered_and_its_text_forgotten(open_outbox, store, mailbox):
    async with smtp_server(mailbox) as port:
        assert open_outbox(mail_url=f"smtp://127.0.0.1:{port}").post(MAIL, USER)
        await store.wait_until(all_in(MailState.SENT))
    (mail,), (message,) = store.mails.values(), mailbox.messages
    assert message["Message-ID"] == f"<{mail.id}@localhost>"
    assert (mail.user_id, mail.tries, mail.sealed) == (USER, 1, b"")
    assert mail.expires_at > mail.created_at


async def test_while_it_waits_its_text_is_not_readable(store, settings):
    pending = Seal(settings.keys).close(MAIL, USER, START)
    shown = json.dumps(str(pending)) + pending.sealed.decode()
    assert not any(secret in shown for secret in ("012345", "secret-token", "alice@example.org"))
    assert Seal((b"n" * 32, KEY)).open(pending) == MAIL
    with pytest.raises(ValueError, match="another key"):
        Seal((b"n" * 32,)).open(pending)


async def test_temporary_refusals_are_tried_again_until_it_is_taken(open_outbox, store, mailbox):
    mailbox.answers = ["451 later", "421 later", "250 OK"]
    async with smtp_server(mailbox) as port:
        open_outbox(mail_url=f"smtp://127.0.0.1:{port}").post(MAIL, USER)
        await store.wait_until(all_in(MailState.SENT))
    (mail,) = store.mails.values()
    assert (mail.tries, len(mailbox.envelopes)) == (3, 1)


async def test_a_permanent_refusal_ends_it_at_once(open_outbox, store, mailbox):
    mailbox.answers = ["550 no such user"]
    async with smtp_server(mailbox) as port:
        open_outbox(mail_url=f"smtp://127.0.0.1:{port}").post(MAIL, USER)
        await store.wait_until(all_in(MailState.FAILED))
    (mail,) = store.mails.values()
    assert (mail.tries, mail.sealed, mail.last_error) == (1, b"", "text refused with 550")
    assert not mailbox.envelopes


async def test_a_dead_server_delays_nobody_and_gets_the_mail_when_it_is_back(open_outbox, store, mailbox):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    open_outbox(mail_url=f"smtp://127.0.0.1:{port}").post(MAIL, USER)
    await store.wait_until(lambda mails: mails and mails[0].tries >= 2)
    assert next(iter(store.mails.values())).state is MailState.PENDING
    async with smtp_server(mailbox, port=port):
        await store.wait_until(all_in(MailState.SENT))
    assert len(mailbox.envelopes) == 1


async def test_a_slow_server_holds_up_neither_posting_nor_storing(open_outbox, store, mailbox):
    mailbox.hold = asyncio.Event()
    async with smtp_server(mailbox) as port:
        outbox = open_outbox(mail_url=f"smtp://127.0.0.1:{port}", timeout_s=30)
        start = time.perf_counter()
        for _ in range(50):
            assert outbox.post(MAIL, USER)
        assert time.perf_counter() - start < 0.5
        await store.wait_until(lambda mails: len(mails) == 50)
        mailbox.hold.set()
        await store.wait_until(all_in(MailState.SENT))
    assert len({message["Message-ID"] for message in mailbox.messages}) == 50


async def test_retries_double_up_to_the_longest_and_end_when_the_mail_is_of_no_more_use(settings, store):
    clock = SetClock()
    outbox = Outbox(replace(settings, first_retry_s=5, max_retry_s=3600), store, FileSender(settings.directory), clock)
    pending = Seal((KEY,)).close(MAIL, USER, START)
    waits = []
    while pending.state is MailState.PENDING:
        pending = outbox._retried(pending, "421")
        waits.append((pending.due_at - clock.now()).total_seconds())
        clock.advance(waits[-1])
    assert waits[:11] == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
    assert pending.state is MailState.FAILED
    assert timedelta(hours=22) < clock.now() - START <= timedelta(hours=24)


async def test_the_store_may_be_away_for_a_while(open_outbox, store):
    outbox = open_outbox()
    store.is_down = True
    assert outbox.post(MAIL, USER)
    await asyncio.wait_for(store.refused.wait(), timeout=10)
    assert not store.mails
    store.is_down = False
    await store.wait_until(all_in(MailState.SENT))


async def test_mails_of_an_earlier_run_are_delivered_by_exactly_one_process(open_outbox, store, settings, mailbox):
    for _ in range(10):
        await store.insert(Seal(settings.keys).close(MAIL, USER, SystemClock().now()))
    async with smtp_server(mailbox) as port:
        for _ in range(2):
            open_outbox(mail_url=f"smtp://127.0.0.1:{port}")
        await store.wait_until(all_in(MailState.SENT))
    assert len(mailbox.envelopes) == 10


async def test_a_mail_sealed_with_a_lost_key_is_given_up(open_outbox, store):
    await store.insert(Seal((b"n" * 32,)).close(MAIL, USER, SystemClock().now()))
    open_outbox()
    await store.wait_until(all_in(MailState.FAILED))


async def test_an_impossible_recipient_fails_alone(open_outbox, store):
    outbox = open_outbox()
    outbox.post(replace(MAIL, to="nobody\r\nBcc: x@example.com"), USER)
    outbox.post(MAIL, USER)
    await store.wait_until(lambda mails: {mail.state for mail in mails} == {MailState.FAILED, MailState.SENT})


async def test_more_than_fits_the_queue_is_dropped_and_said(store, settings):
    outbox = Outbox(replace(settings, queue_limit=2), store, FileSender(settings.directory), SystemClock())
    with structlog.testing.capture_logs() as lines:
        assert [outbox.post(MAIL, USER) for _ in range(3)] == [True, True, False]
    assert [line["event"] for line in lines] == ["mail_dropped"]
    assert "012345" not in str(lines)


async def test_closing_stores_what_was_posted_and_leaves_no_task(store, settings, mailbox):
    mailbox.hold = asyncio.Event()
    async with smtp_server(mailbox) as port:
        changed = replace(settings, mail_url=f"smtp://127.0.0.1:{port}", timeout_s=30)
        outbox = Outbox(changed, store, make_sender(changed), SystemClock())
        outbox.start()
        for _ in range(10):
            outbox.post(MAIL, USER)
        await outbox.close(grace_s=0.2)
        await outbox.close()
        mailbox.hold.set()
    assert len(store.mails) == 10
    assert all(mail.state is MailState.PENDING for mail in store.mails.values())
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("outbox")]


async def test_without_a_mail_server_mails_are_files_and_no_secret_is_logged(open_outbox, store, settings):
    with structlog.testing.capture_logs() as lines:
        open_outbox().post(MAIL, USER)
        await store.wait_until(all_in(MailState.SENT))
    assert len(list(settings.directory.glob("*.eml"))) == 1
    assert not any(secret in str(lines) for secret in ("012345", "secret-token", "alice@example.org"))


def test_the_settings_choose_the_way_out(settings):
    assert isinstance(make_sender(settings), FileSender)
    assert isinstance(make_sender(replace(settings, mail_url="smtp://mail.example.com")), SmtpSender)
    with pytest.raises(ConfigurationError, match="MAIL_URL"):
        make_sender(replace(settings, mail_url="http://mail.example.com"))
    with pytest.raises(ConfigurationError, match="MAIL_FROM"):
        make_sender(replace(settings, sender="nobody"))


async def test_what_becomes_of_each_mail_is_reported(store, settings, mailbox):
    reported: list[MailOutcome] = []
    mailbox.answers = ["451 later", "250 OK", "550 no such user"]
    async with smtp_server(mailbox) as port:
        changed = replace(settings, mail_url=f"smtp://127.0.0.1:{port}")
        outbox = Outbox(changed, store, make_sender(changed), SystemClock(), reported.append)
        outbox.start()
        outbox.post(MAIL, USER)
        await store.wait_until(all_in(MailState.SENT))
        outbox.post(MAIL, USER)
        await store.wait_until(lambda mails: {mail.state for mail in mails} == {MailState.SENT, MailState.FAILED})
        await outbox.close()
    assert reported == [MailOutcome.RETRIED, MailOutcome.SENT, MailOutcome.DROPPED]


async def test_a_mail_that_becomes_a_file_is_reported_as_written(store, settings):
    reported: list[MailOutcome] = []
    outbox = Outbox(settings, store, make_sender(settings), SystemClock(), reported.append)
    outbox.start()
    outbox.post(MAIL, USER)
    await store.wait_until(all_in(MailState.SENT))
    await outbox.close()
    assert reported == [MailOutcome.WRITTEN]


async def test_a_mail_whose_user_goes_while_it_is_written_leaves_nothing(open_outbox, store, settings):
    gone = asyncio.Event()

    async def save(mail):
        store.mails.clear()
        gone.set()
        return False

    store.save = save
    outbox = open_outbox()
    outbox.post(MAIL, USER)
    await asyncio.wait_for(gone.wait(), 10)
    await outbox.close()
    assert not list(settings.directory.iterdir())
