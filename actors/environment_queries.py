"""What is asked about an environment and needs the store alone."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from actors.messages import (
    EnvironmentMetrics,
    GetLogs,
    LogLine,
    LogPage,
    MetricsBucket,
    UpdateEnvironment,
)
from actors.ports import Ports
from devpocket.domain.environments import Environment, ResourceLimits
from devpocket.domain.plans import Plan
from devpocket.errors import ConflictError, PermissionDeniedError
from devpocket.ids import EnvironmentId
from devpocket.metrics import LimitKind, Metrics
from devpocket.runtime.port import Usage
from devpocket.store.environments import EnvironmentRecords
from devpocket.store.errors import DuplicateKeyError
from devpocket.store.records import user_from_document

HISTORY_BUCKETS = 120
"""Points in a history, whatever its length, so that a phone can draw it."""

_LIMITS = ("cpu", "memory", "storage", "max_instances")


class EnvironmentQueries:
    """Reads, and the changes of what is written down, of one environment."""

    def __init__(self, ports: Ports, environment_id: EnvironmentId) -> None:
        self._ports = ports
        self._id = environment_id
        self._records = EnvironmentRecords(ports.store)

    async def update(self, message: UpdateEnvironment) -> Environment:
        """Change name, description, limits, variables; ConflictError: name taken, PermissionDeniedError: over plan."""
        changes, now = message.changes, self._ports.clock.now()
        plan = await self.plan(await self._records.get(self._id))

        def updated(environment: Environment) -> Environment:
            limits = _limits(environment.limits, changes)
            if limits != environment.limits:
                refuse_excess(plan, limits, self._ports.metrics)
            changed = replace(
                environment,
                name=changes.get("name", environment.name),
                description=changes.get("description", environment.description),
                limits=limits,
                updated_at=now,
            )
            if "variables" in changes:
                own = {name: value for name, value in changes["variables"].items() if value is not None}
                changed = changed.with_own_variables(own)
            if (changed.limits, changed.variables) != (environment.limits, environment.variables):
                changed = replace(changed, revision=environment.revision + 1)
            return changed

        try:
            return await self._records.change(self._id, updated)
        except DuplicateKeyError as error:
            raise ConflictError("You have another environment of this name.", code="name_taken") from error

    async def plan(self, environment: Environment) -> Plan:
        """Return the plan of its user."""
        document = await self._ports.store.users.get(environment.user_id)
        return self._ports.plans.of(user_from_document(document).subscription_plan if document else "")

    async def metrics(self, usage: Usage | None, hours: int) -> EnvironmentMetrics:
        """Return ``usage`` with the samples of the last ``hours``, averaged into at most 120 spans."""
        until = self._ports.clock.now()
        bucket_s = max(hours * 3600 // HISTORY_BUCKETS, 1)
        since = until - timedelta(hours=hours)
        buckets = await self._ports.store.metrics_history(self._id, since, until, bucket_s)
        history = [
            MetricsBucket(
                at=bucket.at,
                cpu_percent=bucket.cpu_percent,
                memory_percent=bucket.memory_percent,
                storage_percent=bucket.storage_percent,
                network_received_bytes=bucket.network_in_bytes,
                network_sent_bytes=bucket.network_out_bytes,
            )
            for bucket in buckets
        ]
        return EnvironmentMetrics(usage, history, timedelta(seconds=bucket_s))

    async def logs(self, environment: Environment, message: GetLogs) -> LogPage:
        """Return the newest lines, oldest of them first."""
        logs = self._ports.store.logs
        newest = await logs.query(
            "environment_at", self._id, lower=message.since, descending=True, limit=min(message.lines, 1000)
        )
        total = await logs.count("environment_at", self._id, lower=message.since)
        lines = [LogLine(each["at"], each["level"], each["message"], each["source"]) for each in reversed(newest)]
        return LogPage(environment.name, lines, total, has_more=total > len(lines))


def refuse_excess(plan: Plan, limits: ResourceLimits, metrics: Metrics) -> None:
    """Raise PermissionDeniedError, and count it, naming what ``limits`` asks for beyond ``plan``."""
    exceeded = plan.exceeded(limits)
    if exceeded:
        metrics.limit_refused(LimitKind.RESOURCES)
        allowed = ", ".join(f"{name} up to {getattr(plan.max_resources, name)}" for name in exceeded)
        raise PermissionDeniedError(f"Your plan, {plan.name}, allows {allowed}.", code="plan_limit")


def _limits(limits: ResourceLimits, changes: Mapping[str, Any]) -> ResourceLimits:
    return replace(limits, **{name: changes[name] for name in _LIMITS if changes.get(name) is not None})
