"""What the server says of its parts."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.ports import Ports
from devpocket.errors import DevPocketError

CHECK_DEADLINE_S = 2.0
FRESH_S = 1.0
"""For so long an answer is given again."""


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

    def __init__(self, ports: Ports, now: Callable[[], float] = time.monotonic) -> None:
        """``now`` gives seconds that never jump back."""
        self._ports = ports
        self._now = now
        self._asking = asyncio.Lock()
        self._parts: Mapping[str, Check] = {}
        self._asked_at_s = -math.inf
        self.accepting = False

    async def ready(self) -> Readiness:
        """Return the state of every part, not older than a second. Without its bus a process still serves.

        Each part is asked for 2 s at most, and by one caller at a time: anybody may call this, as often as they like.
        Nothing is asked any more while the server stops.
        """
        parts = await self._fresh_parts() if self.accepting else self._parts
        server = Check("healthy" if self.accepting else "stopping")
        needed = [part for name, part in parts.items() if name != "bus"]
        ready = all(part.status == "healthy" for part in (*needed, server))
        return Readiness(ready, {**parts, "server": server})

    async def _fresh_parts(self) -> Mapping[str, Check]:
        async with self._asking:
            if self._now() - self._asked_at_s >= FRESH_S:
                self._parts = await self._ask()
                self._asked_at_s = self._now()
            return self._parts

    async def _ask(self) -> Mapping[str, Check]:
        store, runtime = self._ports.store, self._ports.runtime
        database, environments, bus = await asyncio.gather(
            self._check(store.check()), self._check(runtime.check()), self._check_bus()
        )
        return {"database": database, "runtime": environments, "bus": bus}

    async def _check_bus(self) -> Check:
        if self._ports.bus.degraded:  # known already, and asking would take until it is given up
            return Check("degraded")
        check = await self._check(self._ports.bus.check())
        return check if check.status == "healthy" else Check("degraded", check.latency_ms)

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
