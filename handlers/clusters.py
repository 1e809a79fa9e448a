"""Clusters: where environments run."""

from devpocket.schemas.service import ClusterAnswer, ClusterHealthAnswer
from handlers.base import BaseHandler
from handlers.operations import operation
from handlers.paths import Route


class ClustersHandler(BaseHandler):
    """All clusters."""

    @operation("List clusters", allow="clusters:read", answer=ClusterAnswer, many=True)
    async def get(self) -> None:
        """Answer with a bare array."""
        self.answer(await self.backend.clusters.list())


class ClusterHandler(BaseHandler):
    """One cluster."""

    @operation("Show a cluster", allow="clusters:read", answer=ClusterAnswer, refuses=(404,))
    async def get(self, cluster_id: str) -> None:
        """Answer with it and its figures."""
        self.answer(await self.backend.clusters.get(cluster_id))


class ClusterHealthHandler(BaseHandler):
    """The health of one cluster."""

    @operation("Show how a cluster does", allow="clusters:read", answer=ClusterHealthAnswer, refuses=(404,))
    async def get(self, cluster_id: str) -> None:
        """Answer with what its runtime says of itself."""
        self.answer(await self.backend.clusters.health(cluster_id))


ROUTES = (
    Route("/api/v1/clusters", ClustersHandler),
    Route("/api/v1/clusters/{cluster_id}", ClusterHandler),
    Route("/api/v1/clusters/{cluster_id}/health", ClusterHealthHandler),
)
