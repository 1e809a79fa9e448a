"""Where environments run, as the app's cluster calls show it: this host is the one entry."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from actors.ports import Ports
from devpocket.domain.environments import EnvironmentPhase
from devpocket.errors import DevPocketError, NotFoundError

HOST_ID = "local"


@dataclass(frozen=True, slots=True)
class ResourceFigures:
    """CPUs, bytes of memory, bytes of storage."""

    cpu: float
    memory: float
    storage: float


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One place where environments run."""

    id: str
    name: str
    region: str
    health_status: str
    active: bool
    max_environments: int
    current_environments: int
    available_resources: ResourceFigures
    used_resources: ResourceFigures
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ClusterHealthView:
    """How it does."""

    status: str
    message: str
    last_checked: datetime
    details: Mapping[str, Any]


class Clusters:
    """Figures of this host, read when they are asked for."""

    def __init__(self, ports: Ports, started_at: datetime) -> None:
        self._ports = ports
        self._started_at = started_at

    async def list(self) -> Sequence[ClusterView]:
        """Return the one entry."""
        return [await self.get(HOST_ID)]

    async def get(self, cluster_id: str) -> ClusterView:
        """Return this host; NotFoundError for any other id."""
        health = await self.health(cluster_id)
        total, used = self._figures()
        free = ResourceFigures(total.cpu - used.cpu, total.memory - used.memory, total.storage - used.storage)
        running = await self._ports.store.environments.count("phase", EnvironmentPhase.RUNNING.value)
        room = int(total.memory // self._ports.plans.default.default_resources.memory_bytes)
        return ClusterView(
            id=HOST_ID,
            name=os.uname().nodename,
            region=HOST_ID,
            health_status=health.status,
            active=health.status == "healthy",
            max_environments=max(room, running),
            current_environments=running,
            available_resources=free,
            used_resources=used,
            created_at=self._started_at,
            updated_at=health.last_checked,
        )

    async def health(self, cluster_id: str) -> ClusterHealthView:
        """Return whether the runtime answers; NotFoundError for any other id than this host's."""
        if cluster_id != HOST_ID:
            raise NotFoundError("There is no such cluster.")
        now = self._ports.clock.now()
        try:
            runtime = await self._ports.runtime.check()
        except DevPocketError as error:
            return ClusterHealthView("unhealthy", error.public, now, {})
        details = {"runtime": runtime.name, "version": runtime.version, "limits": dict(runtime.limits)}
        return ClusterHealthView("healthy", "The runtime answers.", now, details)

    def _figures(self) -> tuple[ResourceFigures, ResourceFigures]:
        """Return what this host has and what of it is in use: load average, ``/proc/meminfo``, ``statvfs``."""
        memory = {
            name: int(value.split()[0]) * 1024
            for name, _, value in (line.partition(":") for line in Path("/proc/meminfo").read_text().splitlines())
            if value.split()
        }
        disk = shutil.disk_usage(self._ports.settings.server.data_dir)
        cpus = float(os.cpu_count() or 1)
        total = ResourceFigures(cpus, memory["MemTotal"], disk.total)
        used = ResourceFigures(
            min(os.getloadavg()[0], cpus), memory["MemTotal"] - memory["MemAvailable"], disk.total - disk.free
        )
        return total, used
