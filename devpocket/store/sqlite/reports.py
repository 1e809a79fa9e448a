"""Reports that SQLite aggregates itself."""

import sqlite3
from datetime import UTC, datetime

from devpocket.store.port import MetricsBucket
from devpocket.store.sqlite.schema import column_value

_HISTORY = """
SELECT "at" / :bucket * :bucket, count(*), avg("cpu_percent"), avg("memory_percent"), avg("storage_percent"),
       max("network_in_bytes"), max("network_out_bytes")
FROM "metrics"
WHERE "environment_id" = :environment AND "at" >= :since AND "at" < :until
  AND ("expires_at" IS NULL OR "expires_at" > :now)
GROUP BY 1 ORDER BY 1
"""


def metrics_history(
    connection: sqlite3.Connection,
    environment_id: str,
    span: tuple[datetime, datetime],
    bucket_s: int,
    now: datetime,
) -> list[MetricsBucket]:
    """See :meth:`devpocket.store.port.Store.metrics_history`."""
    since, until = span
    values = {
        "bucket": bucket_s * 1000,
        "environment": environment_id,
        "since": column_value(since),
        "until": column_value(until),
        "now": column_value(now),
    }
    rows = connection.execute(_HISTORY, values)
    return [MetricsBucket(datetime.fromtimestamp(at_ms / 1000, UTC), *rest) for at_ms, *rest in rows]
