"""The service about itself: health, what it can do, errors."""

from marshmallow import fields

from devpocket.schemas.wire import Instant, WireSchema, given, maybe


class MessageAnswer(WireSchema):
    """A sentence."""

    message = fields.String(**given())


class FieldProblemAnswer(WireSchema):
    """One wrong field of the request."""

    field = fields.String(**given())
    message = fields.String(**given())
    code = fields.String(**maybe())


class ErrorAnswer(WireSchema):
    """Every refusal: ``detail`` is a sentence for people, ``code`` a fixed word for programs."""

    detail = fields.String(**given())
    code = fields.String(**given())
    context = fields.Dict(**given(keys=fields.String()))
    errors = fields.List(fields.Nested(FieldProblemAnswer), **given(allow_none=True))
    timestamp = Instant(**given())
    path = fields.String(**given())


class RateLimitedAnswer(ErrorAnswer):
    """A refusal that says after how many seconds to come back."""

    retry_after = fields.Integer(**given())


class HealthAnswer(WireSchema):
    """The process answers; ``timestamp`` is in seconds since 1970."""

    status = fields.String(**given())
    service = fields.String(**given())
    version = fields.String(**given())
    environment = fields.String(**given())
    timestamp = fields.Float(**given())


class ApiHealthAnswer(WireSchema):
    """The same for the API's own address, with the time as text."""

    status = fields.String(**given())
    service = fields.String(**given())
    version = fields.String(**given())
    environment = fields.String(**given())
    timestamp = Instant(**given())


class LiveAnswer(WireSchema):
    """The event loop turns."""

    status = fields.String(**given())


class StartedAnswer(WireSchema):
    """The start is over."""

    status = fields.String(**given())


class TimedCheckAnswer(WireSchema):
    """One part that the server needs, and how long its answer took."""

    status = fields.String(**given())
    latency_ms = fields.Float(**maybe())


class ReadyAnswer(WireSchema):
    """Whether requests should be sent here: the state of each part, and the same with its time."""

    status = fields.String(**given())
    checks = fields.Dict(**given(keys=fields.String(), values=fields.String()))
    details = fields.Dict(**given(keys=fields.String(), values=fields.Nested(TimedCheckAnswer)))


class InfoAnswer(WireSchema):
    """What this installation is and can do."""

    name = fields.String(**given())
    version = fields.String(**given())
    environment = fields.String(**given())
    features = fields.Dict(**given(keys=fields.String(), values=fields.Boolean()))
    limits = fields.Dict(**given(keys=fields.String(), values=fields.Integer()))
    runtime = fields.Dict(**given(keys=fields.String()))
    timestamp = Instant(**given())


class RootAnswer(WireSchema):
    """Where to find what."""

    message = fields.String(**given())
    version = fields.String(**given())
    environment = fields.String(**given())
    documentation = fields.String(**given())
    health = fields.String(**given())
    timestamp = Instant(**given())


class ResourceFiguresAnswer(WireSchema):
    """Amounts: CPUs, bytes of memory, bytes of storage."""

    cpu = fields.Float(**given())
    memory = fields.Float(**given())
    storage = fields.Float(**given())


class ClusterAnswer(WireSchema):
    """A place where environments run."""

    id = fields.String(**given())
    name = fields.String(**given())
    region = fields.String(**given())
    health_status = fields.String(**given())
    active = fields.Boolean(**given())
    max_environments = fields.Integer(**given())
    current_environments = fields.Integer(**given())
    available_resources = fields.Nested(ResourceFiguresAnswer, **given())
    used_resources = fields.Nested(ResourceFiguresAnswer, **given())
    created_at = Instant(**given())
    updated_at = Instant(**given())


class ClusterHealthAnswer(WireSchema):
    """How a cluster does."""

    status = fields.String(**given())
    message = fields.String(**given())
    last_checked = Instant(**given())
    details = fields.Dict(**given(keys=fields.String()))
