"""Environments on the wire.

The app wants ``resource_limits`` and ``template_id``; older clients say ``resources`` and ``template``. Both are taken
and both are given. ``status`` is one of the five words that the app knows, ``phase`` is finer.
"""

from typing import Any, ClassVar

from marshmallow import ValidationError, fields, post_load, pre_load

from devpocket.domain.environments import EnvironmentPhase, EnvironmentStatus
from devpocket.schemas.wire import (
    JSON_SCHEMA,
    NAME,
    NO_CONTROLS,
    NO_NUL,
    Instant,
    Loaded,
    StrictInteger,
    WireSchema,
    given,
    maybe,
    optional,
    query_number,
    text,
    whole,
)

MAX_VARIABLES = 64
MAX_VALUE_CHARS = 8192
RESERVED = ("HOME", "LOGNAME", "PWD", "SHELL", "TERM", "TMUX", "TMUX_PANE", "TMUX_TMPDIR", "USER")
"""Variables that the login and tmux set; with another value there would be no terminal. ``PATH`` may be changed."""
_VARIABLE = rf"^(?!(?:{'|'.join(RESERVED)})$)(?!DEVPOCKET_)[A-Za-z_][A-Za-z0-9_]{{0,127}}$"
CPU = r"^[1-9][0-9]{0,6}m?$"
SIZE = r"^[1-9][0-9]{0,8}[GMK]i?$"


class VariableName(fields.String):
    """The name of an environment variable (POSIX.1-2024, 8.1) that the user may set."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        name = str(super()._deserialize(value, attr, data, **options))
        if name in RESERVED or name.startswith("DEVPOCKET_"):
            raise ValidationError("This variable is set by the server and cannot be changed.")
        if not name.isascii() or not name.isidentifier() or len(name) > 128:
            raise ValidationError("Name variables with letters, digits and underscores, at most 128 characters.")
        return name


def _few_enough(value: dict[str, str]) -> None:
    if len(value) > MAX_VARIABLES:
        raise ValidationError(f"Set at most {MAX_VARIABLES} variables.")


def variables(*, removable: bool, **options: Any) -> fields.Dict:
    """Return a map of environment variables; with ``removable``, null takes a variable away."""
    value: dict[str, Any] = {"type": ["string", "null"] if removable else "string", "maxLength": MAX_VALUE_CHARS}
    return fields.Dict(
        keys=VariableName(),
        values=text(high=MAX_VALUE_CHARS, allow_none=removable),
        validate=_few_enough,
        metadata={
            JSON_SCHEMA: {
                "propertyNames": {"pattern": _VARIABLE},
                "additionalProperties": value | {"pattern": NO_NUL},
                "maxProperties": MAX_VARIABLES,
            }
        },
        **optional(**options),
    )


def cpu_amount(**options: Any) -> fields.String:
    """Return an amount of CPU in Kubernetes' notation."""
    sentence = "Use an amount of CPU like 500m or 2."
    described = {"description": "500m is half a CPU, 2 are two"}
    return text(low=1, high=8, pattern=CPU, sentence=sentence, metadata=described, **options)


def size_amount(**options: Any) -> fields.String:
    """Return an amount of bytes in Kubernetes' notation."""
    sentence = "Use an amount of bytes like 512Mi or 10Gi."
    described = {"description": "such as 512Mi or 10Gi"}
    return text(low=1, high=11, pattern=SIZE, sentence=sentence, metadata=described, **options)


class ResourcesRequest(WireSchema):
    """What an environment may use, in Kubernetes' notation; what is absent comes from the template and the plan."""

    ALIASES: ClassVar = {"max_instances": ("maxInstances",)}

    cpu = cpu_amount(**optional())
    memory = size_amount(**optional())
    storage = size_amount(**optional())
    max_instances = whole(1, 100, **optional())


class _WithResources(WireSchema):
    ALIASES: ClassVar = {
        "resource_limits": ("resources", "resourceLimits"),
        "environment_variables": ("variables", "environmentVariables"),
        "template_id": ("template", "templateId"),
    }

    @pre_load
    def _not_null(self, data: Any, **_: Any) -> Any:
        """Null means that nothing was said."""
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None}

    @post_load
    def _flatten(self, data: Loaded, **_: Any) -> Loaded:
        """Return what actors call it: the amounts by name, the variables as such."""
        limits = data.pop("resource_limits", None) or {}
        variables = data.pop("environment_variables", None)
        if variables is not None:
            data["variables"] = variables
        return data | {name: amount for name, amount in limits.items() if amount is not None}


class CreateEnvironmentRequest(_WithResources):
    """A new environment. ``template_id`` is a template's id or its name; ``template`` and ``resources`` are taken, too.

    Any letters and spaces may be in the name.
    """

    name = text(low=1, high=100, pattern=NAME, required=True)
    template_id = text(low=1, high=100, required=True)
    description = text(high=500, pattern=NO_CONTROLS, allow_none=True)
    resource_limits = fields.Nested(ResourcesRequest, **optional())
    environment_variables = variables(removable=False)

    @post_load
    def _clean(self, data: Loaded, **_: Any) -> Loaded:
        return data | {"name": data["name"].strip(), "template_id": data["template_id"].strip()}


class UpdateEnvironmentRequest(_WithResources):
    """What to change; what is absent or null stays. The variables take the place of the user's own, null ones go."""

    name = text(low=1, high=100, pattern=NAME, allow_none=True)
    description = text(high=500, pattern=NO_CONTROLS, allow_none=True)
    resource_limits = fields.Nested(ResourcesRequest, allow_none=True)
    environment_variables = variables(removable=True)

    @post_load
    def _clean(self, data: Loaded, **_: Any) -> Loaded:
        return data | ({"name": data["name"].strip()} if "name" in data else {})


class EnvironmentsQuery(WireSchema):
    """Which environments to list."""

    ALIASES: ClassVar = {"status": ("status_filter",), "template_id": ("template",)}

    status = fields.Enum(EnvironmentStatus, by_value=True, load_default=None)
    template_id = text(low=1, high=100, load_default=None)
    limit = query_number(1, 100, 100)
    offset = query_number(0, 10_000, 0)


class MetricsQuery(WireSchema):
    """How far back the history goes."""

    hours = query_number(1, 168, 1)


class LogsQuery(WireSchema):
    """Which lines of the log: the newest ``lines`` written at or after ``since``."""

    lines = query_number(1, 1000, 100)
    since = Instant(load_default=None)


class ResourcesAnswer(WireSchema):
    """What an environment may use."""

    cpu = fields.String(**given())
    memory = fields.String(**given())
    storage = fields.String(**given())
    max_instances = fields.Integer(**given())


class EnvironmentAnswer(WireSchema):
    """An environment with its present figures; the usages are percentages of its own limits."""

    id = fields.String(**given(attribute="environment.id"))
    name = fields.String(**given(attribute="environment.name"))
    description = fields.String(**given(attribute="environment.description"))
    template_id = fields.String(**given(attribute="environment.template_id"))
    template_name = fields.String(**given(attribute="environment.template_name"))
    docker_image = fields.String(**given(attribute="environment.image"))
    status = fields.Enum(EnvironmentStatus, by_value=True, **given(attribute="environment.status"))
    phase = fields.Enum(EnvironmentPhase, by_value=True, **given(attribute="environment.phase"))
    message = fields.String(**given(attribute="environment.message"))
    installation_completed = fields.Boolean(**given(attribute="environment.installation_completed"))
    resource_limits = fields.Nested(ResourcesAnswer, **given(attribute="environment.limits"))
    resources = fields.Nested(ResourcesAnswer, **given(attribute="environment.limits"))
    environment_variables = fields.Dict(
        **given(attribute="environment.variables", keys=fields.String(), values=fields.String())
    )
    port = fields.Integer(**maybe(attribute="environment.port"))
    external_url = fields.Constant(None, **maybe(metadata={"type": ["string", "null"]}))
    web_port = fields.Constant(None, **maybe(metadata={"type": ["integer", "null"]}))
    ssh_port = fields.Constant(None, **maybe(metadata={"type": ["integer", "null"]}))
    created_at = Instant(**given(attribute="environment.created_at"))
    updated_at = Instant(**given(attribute="environment.updated_at"))
    last_accessed = Instant(**maybe(attribute="environment.last_accessed_at"))
    last_activity = Instant(**maybe(attribute="environment.last_accessed_at"))
    cpu_usage = fields.Float(**maybe(attribute="usage.cpu_percent", dump_default=None))
    memory_usage = fields.Float(**maybe(attribute="usage.memory_percent", dump_default=None))
    storage_usage = fields.Float(**maybe(attribute="usage.storage_percent", dump_default=None))


class CommandAnswer(WireSchema):
    """What a command leads to; the rest goes on in the background."""

    message = fields.String(**given())
    status = fields.Enum(EnvironmentStatus, by_value=True, **given())
    phase = fields.Enum(EnvironmentPhase, by_value=True, **given())


class MetricsBucketAnswer(WireSchema):
    """Averages over one span of time."""

    timestamp = Instant(**given(attribute="at"))
    cpu_usage = fields.Float(**maybe(attribute="cpu_percent"))
    memory_usage = fields.Float(**maybe(attribute="memory_percent"))
    disk_usage = fields.Float(**maybe(attribute="storage_percent"))
    network_in = fields.Integer(**maybe(attribute="network_received_bytes"))
    network_out = fields.Integer(**maybe(attribute="network_sent_bytes"))


class MetricsAnswer(WireSchema):
    """Present figures under the app's names and under those of the older documents, and their history.

    Usages are percentages of the environment's own limits, network figures bytes, ``uptime`` seconds; null while it
    does not run. ``bucket_seconds`` is the span of one entry of ``history``.
    """

    environment_id = fields.String(**given())
    cpu_usage = fields.Float(**maybe(attribute="usage.cpu_percent", dump_default=None))
    memory_usage = fields.Float(**maybe(attribute="usage.memory_percent", dump_default=None))
    disk_usage = fields.Float(**maybe(attribute="usage.storage_percent", dump_default=None))
    storage_usage = fields.Float(**maybe(attribute="usage.storage_percent", dump_default=None))
    network_in = fields.Integer(**maybe(attribute="usage.network_received_bytes", dump_default=None))
    network_out = fields.Integer(**maybe(attribute="usage.network_sent_bytes", dump_default=None))
    network_rx = fields.Integer(**maybe(attribute="usage.network_received_bytes", dump_default=None))
    network_tx = fields.Integer(**maybe(attribute="usage.network_sent_bytes", dump_default=None))
    uptime = fields.Float(**maybe(attribute="usage.uptime_s", dump_default=None))
    timestamp = Instant(**maybe(attribute="usage.measured_at", dump_default=None))
    last_updated = Instant(**maybe(attribute="usage.measured_at", dump_default=None))
    bucket_seconds = fields.Float(**given())
    history = fields.List(fields.Nested(MetricsBucketAnswer), **given())


class LogLineAnswer(WireSchema):
    """One line with its parts."""

    timestamp = Instant(**given(attribute="at"))
    level = fields.String(**given())
    message = fields.String(**given())
    source = fields.String(**given())


class LogsAnswer(WireSchema):
    """The log as the app reads it (``logs``, ``total``, ``has_more``), and with its parts under ``entries``."""

    environment_id = fields.String(**given())
    environment_name = fields.String(**given())
    logs = fields.List(fields.String(), **given())
    entries = fields.List(fields.Nested(LogLineAnswer), **given())
    total = StrictInteger(**given())
    total_lines = StrictInteger(**given())
    has_more = fields.Boolean(**given())
