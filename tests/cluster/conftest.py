"""Fixtures of the tests with several processes.

``pair``    two servers with Redis and the default lease, which sweep and sample often
``lonely``  two servers without Redis, with the shortest lease: what one does the other learns from the store alone
"""

from collections.abc import AsyncIterator, Generator, Iterator

import pytest

from tests.cluster.pairs import Pair, running_pair
from tests.mongodb import mongodb_url, own_mongodb
from tests.phone.client import Phone
from tests.redis_server import running_redis

__all__ = ["mongodb_url", "own_mongodb"]


@pytest.fixture(scope="package")
def pair(mongodb_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    settings = {"ORPHAN_SWEEP_INTERVAL": "1s", "WATCHED_SAMPLE_INTERVAL": "1s", "SAMPLE_INTERVAL": "1h"}
    with (
        running_redis(tmp_path_factory.mktemp("redis")) as redis,
        running_pair(mongodb_url, REDIS_URL=str(redis.url), **settings) as pair,
    ):
        yield pair


@pytest.fixture(scope="package")
def lonely(mongodb_url: str) -> Iterator[Pair]:
    with running_pair(mongodb_url, LEASE_TTL="2s", IDLE_WARNING="6s") as pair:
        yield pair


@pytest.fixture
async def phones(pair: Pair) -> AsyncIterator[list[Phone]]:
    async with pair.person() as phones:
        yield phones


@pytest.fixture
async def lonely_phones(lonely: Pair) -> AsyncIterator[list[Phone]]:
    async with lonely.person() as phones:
        yield phones


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the servers' last words beside the failure of a test."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    for pair in (arguments.get(name) for name in ("pair", "lonely")):
        if report.failed and pair:
            report.sections += [(f"server {server.port}", server.log_tail()) for server in pair.servers]
    return report
