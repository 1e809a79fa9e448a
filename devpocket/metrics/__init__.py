"""The figures for the operator, in Prometheus' form.

Everything is a method of :class:`Metrics`, so that those who report say what happened and know nothing of series. Label
values are enums where the set is closed, and their series exist from the start: a dashboard shows zero rather than
nothing. ``docs/metrics.md`` says what each means.
"""

from devpocket.metrics.labels import Direction, LimitKind, MailOutcome, SweepKind
from devpocket.metrics.loop_lag import LoopLagMonitor
from devpocket.metrics.series import CONTENT_TYPE, Metrics

__all__ = ["CONTENT_TYPE", "Direction", "LimitKind", "LoopLagMonitor", "MailOutcome", "Metrics", "SweepKind"]
