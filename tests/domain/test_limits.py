import math

import pytest

from devpocket.domain.limits import (
    MAX_RETRY_AFTER_S,
    BucketRule,
    TokenBucket,
    charge,
    retry_after,
    take,
)

RULE = BucketRule(capacity=10, refill_per_s=2)


def test_an_absent_bucket_is_full():
    bucket, taken = take(RULE, None, now_s=100)
    assert taken.allowed
    assert bucket == TokenBucket(tokens=9, at_s=100)
    assert (taken.remaining, taken.retry_after_s, taken.reset_after_s) == (9, 0, 0.5)


def test_a_refused_request_takes_nothing_and_says_how_long_to_wait():
    empty = TokenBucket(tokens=1, at_s=100)
    bucket, taken = take(RULE, empty, now_s=100, amount=5)
    assert not taken.allowed
    assert bucket == empty
    assert (taken.remaining, taken.retry_after_s, taken.reset_after_s) == (1, 2, 4.5)


def test_after_the_wait_it_is_told_the_request_is_allowed():
    bucket, refused = take(RULE, TokenBucket(tokens=0.25, at_s=0), now_s=3, amount=10)
    assert not take(RULE, bucket, 3 + refused.retry_after_s - 0.001, 10)[1].allowed
    assert take(RULE, bucket, 3 + refused.retry_after_s, 10)[1].allowed


def test_a_bucket_never_holds_more_than_its_capacity():
    _, taken = take(RULE, TokenBucket(tokens=9, at_s=0), now_s=1_000_000)
    assert taken.remaining == 9


def test_a_clock_that_jumps_back_takes_nothing_away():
    bucket, taken = take(RULE, TokenBucket(tokens=5, at_s=100), now_s=40)
    assert (taken.allowed, taken.remaining) == (True, 4)
    assert bucket.at_s == 40


def test_a_smaller_rule_applies_to_a_bucket_filled_under_a_larger_one():
    _, taken = take(BucketRule(capacity=3, refill_per_s=1), TokenBucket(tokens=500, at_s=0), now_s=0)
    assert taken.remaining == 2


def test_over_a_long_time_no_more_passes_than_the_rate():
    bucket, passed = None, 0
    for step in range(10_000):
        bucket, taken = take(RULE, bucket, now_s=step / 100)
        passed += taken.allowed
    assert passed == pytest.approx(10 + 100 * 2, abs=1)


@pytest.mark.parametrize("amount", [0, -1, 10.5, math.inf, math.nan])
def test_an_amount_that_can_never_be_granted_is_a_mistake(amount):
    with pytest.raises(ValueError, match="cannot take"):
        take(RULE, None, 0, amount)


@pytest.mark.parametrize(("capacity", "refill"), [(0, 1), (1, 0), (-1, 1), (math.inf, 1), (1, math.nan)])
def test_a_rule_that_makes_no_sense_is_refused(capacity, refill):
    with pytest.raises(ValueError, match="positive"):
        BucketRule(capacity, refill)


def test_a_window_rule_lets_the_whole_window_through_at_once():
    rule = BucketRule.per_window(60, window_s=120)
    assert (rule.capacity, rule.refill_per_s, rule.fill_time_s) == (60, 0.5, 120)


def test_charging_slows_down_and_never_refuses():
    bucket, taken = charge(RULE, None, now_s=0, amount=30)
    assert (taken.allowed, taken.remaining, taken.retry_after_s) == (False, -20, 10)
    bucket, taken = charge(RULE, bucket, now_s=10, amount=1)
    assert (taken.remaining, taken.retry_after_s) == (-1, 0.5)
    assert charge(RULE, bucket, now_s=100, amount=1)[1] == charge(RULE, None, now_s=100, amount=1)[1]


@pytest.mark.parametrize("chance", [0, 0.3, 0.999, 1])
@pytest.mark.parametrize("wait_s", [-5, 0, 0.2, 1, 10, 44, 59, 60, 61, 86400, math.inf])
def test_retry_after_is_a_whole_number_of_seconds_up_to_a_minute(wait_s, chance):
    seconds = retry_after(wait_s, chance)
    assert isinstance(seconds, int)
    assert 1 <= seconds <= MAX_RETRY_AFTER_S
    if wait_s <= 45:
        assert seconds >= wait_s


def test_retry_after_spreads_those_who_were_refused_together():
    assert len({retry_after(40, step / 100) for step in range(100)}) >= 10
    assert len({retry_after(3600, step / 100) for step in range(100)}) >= 10
