"""How a route is written: once, for Tornado and for the OpenAPI description."""

import re
from dataclasses import dataclass

from tornado.routing import URLSpec
from tornado.web import RequestHandler

_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """A path with ``{parameters}`` and who handles it; it matches with and without a slash at the end."""

    path: str
    handler: type[RequestHandler]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's parameters, in order."""
        return tuple(_PARAMETER.findall(self.path))

    def url_spec(self) -> URLSpec:
        """Return what Tornado routes by."""
        pattern = _PARAMETER.sub("([^/]+)", self.path.rstrip("/")) + "/?"
        return URLSpec(pattern, self.handler, {"route": self.path})
