"""The lockout: few looks, a lock that ends, and an owner who is not kept out by strangers."""

import asyncio
from datetime import timedelta

import pytest

from devpocket.auth.lockout import LockoutSettings, attempt_counters, locked_error, network_of
from devpocket.auth.turns import Turns
from devpocket.errors import RateLimitedError
from tests.auth.clocks import START

SETTINGS = LockoutSettings()


def test_five_passwords_from_one_address_are_looked_at_and_the_fifth_wrong_one_locks():
    pair, account = attempt_counters("user", "192.0.2.1", SETTINGS)
    assert [pair.is_over(count) for count in (1, 5, 6)] == [False, False, True]
    assert [pair.is_full(count) for count in (1, 4, 5)] == [False, False, True]
    assert [account.is_over(count) for count in (6, 20, 21)] == [False, False, True]
    assert (pair.window_s, pair.lock_s, pair.is_pair, account.is_pair) == (900, 900, True, False)


def test_each_pair_counts_for_itself_and_the_account_counts_them_together():
    here, there = (attempt_counters("user", address, SETTINGS) for address in ("192.0.2.1", "192.0.2.2"))
    somebody_else = attempt_counters("other", "192.0.2.1", SETTINGS)
    assert here[0].key != there[0].key
    assert here[1].key == there[1].key
    keys = {key for counters in (here, there, somebody_else) for each in counters for key in (each.key, each.lock_key)}
    assert len(keys) == 10


def test_where_the_owner_is_signed_in_strangers_do_not_count():
    (only,) = attempt_counters("user", "192.0.2.1", SETTINGS, is_known_address=True)
    assert only == attempt_counters("user", "192.0.2.1", SETTINGS)[0]


@pytest.mark.parametrize("name", ["hunter2isMyPassword1", "\0", "\ud800", "x" * 10**6])
def test_names_that_nobody_has_are_counted_but_not_stored(name):
    for counter in attempt_counters(name, "192.0.2.1", SETTINGS):
        assert name not in counter.key
        assert len(counter.key.encode()) < 200


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_one_customer_is_one_address(address, counted):
    assert network_of(address) == counted


def test_the_refusal_says_until_when_in_words():
    error = locked_error(START + timedelta(minutes=14, seconds=1), START)
    assert error.public == (
        "Too many wrong passwords: sign-in to this account is locked until 12:15 UTC on 1 March 2026."
        " Devices that are signed in stay signed in."
    )
    assert (error.code, error.retry_after_s) == ("account_locked", 841)
    assert locked_error(START, START + timedelta(seconds=1)).retry_after_s == 0


async def test_turns_are_taken_one_by_one_in_order_and_leave_nothing_behind():
    turns, inside, order = Turns(), 0, []

    async def visit(number):
        nonlocal inside
        async with turns.turn("key"):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            order.append(number)
            inside -= 1

    await asyncio.gather(*map(visit, range(20)))
    assert order == list(range(20))
    assert not turns._locks
    assert not turns._users


async def test_different_keys_do_not_wait_for_each_other():
    turns = Turns()
    async with turns.turn("a"), asyncio.timeout(1), turns.turn("b"):
        assert len(turns._locks) == 2


async def test_too_many_who_wait_for_one_key_are_sent_away_and_a_cancelled_one_makes_room():
    turns = Turns(waiting_limit=1)

    async def visit():
        async with turns.turn("key"):
            pass

    async with turns.turn("key"):
        waiting = asyncio.create_task(visit())
        await asyncio.sleep(0)
        with pytest.raises(RateLimitedError):
            await visit()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert turns._users == {"key": 1}
    assert not turns._users
