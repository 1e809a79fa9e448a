"""Mails as files: private, whole, few, and the log without what they say."""

import asyncio
import stat
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import pytest
import structlog

from devpocket.mail.file import FileSender
from devpocket.mail.messages import Messages, compose, parse_sender
from devpocket.mail.sender import DeliveryError
from tests.auth.clocks import START

MAIL = Messages("https://dev.example.com").verification("alice@example.org", "Alice", "012345", "secret-token")


def message(number=0):
    sender = parse_sender("noreply@localhost")
    return compose(MAIL, sender=sender, mail_id=f"id{number}", created_at=START + timedelta(seconds=number))


async def test_a_mail_becomes_a_file_that_only_its_owner_reads(tmp_path):
    directory = tmp_path / "data" / "mail"
    await FileSender(directory).send(MAIL, message())
    (path,) = directory.iterdir()
    assert path.name == "20260301T120000Z-verification-id0.eml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    read = message_from_bytes(path.read_bytes(), policy=default)
    assert read["To"] == "alice@example.org"
    body = read.get_body(("plain",))
    assert body is not None
    assert "012345" in body.get_content()


@pytest.mark.parametrize("show_codes", [False, True])
async def test_the_log_names_the_file_and_the_digits_only_for_developers(tmp_path, show_codes):
    with structlog.testing.capture_logs() as lines:
        await FileSender(tmp_path, show_codes=show_codes).send(MAIL, message())
    (line,) = lines
    assert line["path"].endswith("-verification-id0.eml")
    assert ("012345" in str(line)) is show_codes
    assert "secret-token" not in str(line)


async def test_only_the_newest_files_are_kept(tmp_path):
    sender = FileSender(tmp_path, keep=3)
    for number in range(5):
        await sender.send(MAIL, message(number))
    assert sorted(path.name[-7:] for path in tmp_path.iterdir()) == ["id2.eml", "id3.eml", "id4.eml"]


async def test_a_second_delivery_of_the_same_mail_is_the_same_file(tmp_path):
    sender = FileSender(tmp_path)
    await asyncio.gather(sender.send(MAIL, message()), sender.send(MAIL, message(1)))
    await sender.send(replace(MAIL, code="999999"), message())
    assert len(list(tmp_path.iterdir())) == 2


async def test_a_folder_that_cannot_be_made_is_worth_another_try(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DeliveryError) as caught:
        await FileSender(blocked / "mail").send(MAIL, message())
    assert not caught.value.is_permanent


async def test_one_mail_can_be_withdrawn(tmp_path):
    sender = FileSender(tmp_path)
    for number in (1, 2):
        await sender.send(MAIL, message(number))
    (first, second) = sorted(tmp_path.iterdir())
    await sender.withdraw(first.stem.rpartition("-")[2])
    assert list(tmp_path.iterdir()) == [second]
    await sender.withdraw("unknown")


async def test_mails_to_one_address_can_be_removed(tmp_path):
    sender = FileSender(tmp_path)
    await sender.send(MAIL, message(1))
    other = compose(
        replace(MAIL, to="bob@example.org"), sender=parse_sender("noreply@localhost"), mail_id="id2", created_at=START
    )
    await sender.send(MAIL, other)
    await sender.forget("ALICE@example.org")
    assert [path.name for path in tmp_path.iterdir()] == ["20260301T120000Z-verification-id2.eml"]
