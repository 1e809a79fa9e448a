"""The short form of the fault suite: every fault once. The long one is ``python -m benchmarks.chaos``."""

import pytest

from tests.cluster import faults

SEED = 20


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_what_was_acknowledged_outlives_every_fault() -> None:
    ledger = await faults.play(SEED)
    assert ledger.acknowledged["create"] >= 3
    assert ledger.acknowledged["type"] >= 10
    assert ledger.acknowledged["delete"] >= 1
