"""What the server says of its parts."""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.ports import Ports
from devpocket.errors import DevPocketError

CHECK_DEADLINE_S = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """The state of one part (``healthy``, ``degraded``, ``unhealthy``) and how long its answer took."""

    status: str
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests should come here."""

    ready: bool
    checks: Mapping[str, Check]


class Health:
    """Asks the parts; the composition root says when the server has started and when it stops."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self.accepting = False

    async def ready(self) -> Readiness:
        """Return the state of every part, each asked for 2 s at most. Without its bus a process still serves."""
        database, runtime, bus = await asyncio.gather(
            self._check(self._ports.store.check()),
            self._check(self._ports.runtime.check()),
            self._check(self._ports.bus.check()),
        )
        if self._ports.bus.degraded or bus.status != "healthy":
            bus = Check("degraded", bus.latency_ms)
        server = Check("healthy" if self.accepting else "stopping")
        ready = self.accepting and database.status == "healthy" and runtime.status == "healthy"
        return Readiness(ready, {"database": database, "runtime": runtime, "bus": bus, "server": server})

    async def info(self) -> Mapping[str, Any]:
        """Return features, limits of the plans, and what the runtime says of itself."""
        settings, plans = self._ports.settings, self._ports.plans
        runtime = await self._ports.runtime.check()
        return {
            "features": {
                "authentication": True,
                "google_oauth": bool(settings.auth.google_client_ids),
                "websockets": True,
                "rate_limiting": True,
                "metrics": settings.observation.metrics_port is not None
                or settings.observation.metrics_token is not None,
            },
            "limits": {f"{name}_environments": plan.environments for name, plan in plans.by_name.items()},
            "runtime": {
                "name": runtime.name,
                "version": runtime.version,
                "limits": dict(runtime.limits),
                "network": runtime.network,
                "warnings": list(runtime.warnings),
            },
        }

    async def _check(self, asked: Awaitable[Any]) -> Check:
        began = time.monotonic()
        try:
            async with asyncio.timeout(CHECK_DEADLINE_S):
                await asked
        except (DevPocketError, TimeoutError):
            return Check("unhealthy", _milliseconds_since(began))
        return Check("healthy", _milliseconds_since(began))


def _milliseconds_since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)
