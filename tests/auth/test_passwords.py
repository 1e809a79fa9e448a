"""Hashing off the loop, the same work for unknown accounts, and a queue that ends."""

import asyncio
import os
import statistics
import threading
import time
import unicodedata

import pytest

from devpocket.auth import passwords as module
from devpocket.auth.passwords import Passwords, PasswordSettings, check_new_password, is_common_password
from devpocket.domain.users import password_problems
from devpocket.errors import UnavailableError, ValidationError

CHEAP = PasswordSettings(time_cost=1, memory_kib=64)
REAL = PasswordSettings()


@pytest.fixture
async def cheap():
    passwords = Passwords(CHEAP)
    yield passwords
    await passwords.close()


async def test_a_hash_is_argon2id_salted_and_matches_its_password_alone(cheap):
    first, second = await cheap.hash("Correct1"), await cheap.hash("Correct1")
    assert first.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert first != second
    assert await cheap.verify("Correct1", first)
    assert not await cheap.verify("correct1", first)
    assert not await cheap.verify("", first)


async def test_a_password_typed_on_another_keyboard_is_the_same(cheap):
    hashed = await cheap.hash(unicodedata.normalize("NFC", "Nguyễn123"))
    assert await cheap.verify(unicodedata.normalize("NFD", "Nguyễn123"), hashed)


@pytest.mark.parametrize(
    "text", ["", "\0", "\ud800", "x" * 10**6, "Ab1" + "\udfff" * 125], ids=lambda text: ascii(text)[:20]
)
async def test_any_text_may_be_asked_about(cheap, text):
    assert not await cheap.verify(text, await cheap.hash("Correct1"))
    assert not await cheap.verify(text, None)


@pytest.mark.parametrize("broken", ["", "x", "$argon2id$v=19$m=64,t=1,p=1$$", "$2b$12$abcdefghijklmnopqrstuv"])
async def test_an_unreadable_hash_matches_nothing_and_does_not_fail(cheap, broken):
    assert not await cheap.verify("Correct1", broken)


def test_a_text_that_is_no_hash_asks_for_no_new_one():
    assert not Passwords(CHEAP).needs_rehash("x")


async def test_a_hash_of_other_figures_still_matches_and_asks_for_a_new_one(cheap):
    dearer = Passwords(PasswordSettings(time_cost=2, memory_kib=128))
    try:
        old = await cheap.hash("Correct1")
        assert await dearer.verify("Correct1", old)
        assert dearer.needs_rehash(old)
        assert not dearer.needs_rehash(await dearer.hash("Correct1"))
    finally:
        await dearer.close()


async def test_an_unknown_account_costs_the_same_work_as_a_wrong_password():
    passwords = Passwords(REAL)

    async def work_s(password_hash):
        before = await passwords._run(time.thread_time)  # of the one worker, so waiting does not count
        assert not await passwords.verify("Wrong123", password_hash)
        return await passwords._run(time.thread_time) - before

    try:
        hashed = await passwords.hash("Correct1")
        wrong = [await work_s(hashed) for _ in range(5)]
        unknown = [await work_s(None) for _ in range(5)]
        assert statistics.median(unknown) == pytest.approx(statistics.median(wrong), rel=0.5)
    finally:
        await passwords.close()


async def test_fifty_sign_ins_at_once_leave_the_loop_free():
    passwords = Passwords(REAL)
    try:
        hashed = await passwords.hash("Correct1")
        storm = asyncio.gather(*(passwords.verify("Correct1", hashed) for _ in range(50)))
        delays = []
        while not storm.done():
            start = time.perf_counter()
            await asyncio.sleep(0.002)
            delays.append(time.perf_counter() - start - 0.002)
        assert await storm == [True] * 50
        assert statistics.quantiles(delays, n=20)[-1] < 0.050
    finally:
        await passwords.close()


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="threads have no priority here")
async def test_hashing_gives_way_to_everything_else(cheap):
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert await cheap._run(niceness) == min(19, niceness() + CHEAP.nice)


async def test_what_does_not_fit_the_queue_is_sent_away_and_room_comes_back():
    passwords = Passwords(PasswordSettings(time_cost=1, memory_kib=64, queue_limit=2))
    try:
        answers = await asyncio.gather(*(passwords.hash("Correct1") for _ in range(5)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, UnavailableError)]
        assert len(refused) == 3
        assert {error.retry_after_s for error in refused} == {5.0}
        assert await passwords.hash("Correct1")
    finally:
        await passwords.close()


async def test_a_caller_who_gives_up_makes_room():
    passwords = Passwords(PasswordSettings(time_cost=1, memory_kib=64, queue_limit=1))
    try:
        waiting = asyncio.create_task(passwords.hash("Correct1"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await passwords.hash("Correct1")
    finally:
        await passwords.close()


async def test_closing_ends_the_threads():
    passwords = Passwords(CHEAP)
    await passwords.hash("Correct1")
    await passwords.close()
    await passwords.close()
    assert not [thread for thread in threading.enumerate() if thread in passwords._executor._threads]


def test_every_listed_password_would_pass_the_other_rules_and_is_refused_in_any_capitalisation():
    listed = sorted(module._COMMON)
    assert len(listed) > 500
    for entry in listed:
        cased = _with_both_cases(entry)
        assert password_problems(cased, is_common=lambda _: False) == [], entry
        assert is_common_password(cased), entry
        assert is_common_password(f" {cased} "), entry


def _with_both_cases(text):
    """Return ``text`` with its first letter in upper case and the rest in lower."""
    index = next(index for index, char in enumerate(text) if char.upper() != char)
    return text[:index] + text[index].upper() + text[index + 1 :]


@pytest.mark.parametrize("password", ["Password1", "pASSWORD1", "Qwerty123", "P@ssw0rd", "Welcome1", "Summer2025!"])
def test_the_best_known_passwords_are_refused(password):
    with pytest.raises(ValidationError, match="first that others try"):
        check_new_password(password)


def test_a_password_of_its_own_is_taken():
    check_new_password("Lantern-Otter-58")
