"""A coarse floor under cost: noise does not fail it, a lost order of magnitude does."""

import pytest

from benchmarks.actors import measure


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_idle_actor_takes_less_than_5_kb(loop):
    assert measure("loop_memory", loop, 2_000, runs=1)[0] < 5_000


def test_a_cpu_second_is_good_for_20_000_asks():
    assert measure("loop_sequential", "asyncio", 1, runs=1)[0] > 20_000


def test_10_000_actors_stop_within_2_s():
    assert measure("loop_stop", "asyncio", 10_000, runs=1)[0] < 2.0
