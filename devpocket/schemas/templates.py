"""Templates on the wire. The app has two parsers: the one of a single template wants ``image`` beside the rest."""

from typing import Any, ClassVar

from marshmallow import fields, post_load, validate

from devpocket.domain.environments import ResourceLimits
from devpocket.domain.templates import TemplateCategory, TemplateStatus
from devpocket.schemas.environments import cpu_amount, size_amount, variables
from devpocket.schemas.wire import (
    NAME,
    NO_CONTROLS,
    WEB_ADDRESS,
    Instant,
    Loaded,
    WireSchema,
    given,
    length,
    maybe,
    text,
    whole,
)

_SLUG = r"^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$"
_SLUG_SENTENCE = "Use a-z, 0-9, dots and hyphens, as in nodejs-18."
_IMAGE = r"^[a-z0-9][A-Za-z0-9_./:@-]*$"
_IMAGE_SENTENCE = "Use the name of an image like python:3.11-slim."
_REMOVABLE = ("default_port", "documentation_url", "icon_url")


class _TemplateFields(WireSchema):
    ALIASES: ClassVar = {"docker_image": ("image",), "default_resources": ("resources",)}

    tags = fields.List(
        text(low=1, high=40), validate=validate.Length(max=20, error="Use at most 20 tags."), allow_none=True
    )
    status = fields.Enum(TemplateStatus, by_value=True, allow_none=True)
    version = text(low=1, high=50, pattern=NAME, allow_none=True)
    default_port = whole(1, 65_535, allow_none=True)
    environment_variables = variables(removable=False)
    startup_commands = fields.List(text(low=1, high=16_384), validate=length(0, 100), allow_none=True)
    documentation_url = text(low=1, high=2048, pattern=WEB_ADDRESS, allow_none=True)
    icon_url = text(low=1, high=2048, pattern=WEB_ADDRESS, allow_none=True)

    @post_load
    def _build(self, data: Loaded, **_: Any) -> Loaded:
        """Return the fields as the domain holds them: limits, tuples, null only where it takes something away."""
        data = {name: value for name, value in data.items() if value is not None or name in _REMOVABLE}
        for name in ("tags", "startup_commands"):
            if name in data:
                data[name] = tuple(data[name])
        if "default_resources" in data:
            data["default_resources"] = ResourceLimits(**data["default_resources"])
        return data


class DefaultResourcesRequest(WireSchema):
    """What an environment gets when its creator names no amounts."""

    cpu = cpu_amount(required=True)
    memory = size_amount(required=True)
    storage = size_amount(required=True)


class CreateTemplateRequest(_TemplateFields):
    """A new template; its name never changes."""

    name = text(low=1, high=50, pattern=_SLUG, sentence=_SLUG_SENTENCE, required=True)
    display_name = text(low=1, high=100, pattern=NAME, required=True)
    description = text(low=1, high=500, pattern=NO_CONTROLS, required=True)
    category = fields.Enum(TemplateCategory, by_value=True, required=True)
    docker_image = text(low=1, high=255, pattern=_IMAGE, sentence=_IMAGE_SENTENCE, required=True)
    default_resources = fields.Nested(DefaultResourcesRequest, required=True)


class UpdateTemplateRequest(_TemplateFields):
    """What to change of a template; what is absent, or null and cannot be taken away, stays. A name is ignored."""

    display_name = text(low=1, high=100, pattern=NAME, allow_none=True)
    description = text(low=1, high=500, pattern=NO_CONTROLS, allow_none=True)
    category = fields.Enum(TemplateCategory, by_value=True, allow_none=True)
    docker_image = text(low=1, high=255, pattern=_IMAGE, sentence=_IMAGE_SENTENCE, allow_none=True)
    default_resources = fields.Nested(DefaultResourcesRequest, allow_none=True)


class TemplatesQuery(WireSchema):
    """Which templates to list: active and beta ones unless ``status`` says otherwise, the most used first."""

    category = fields.Enum(TemplateCategory, by_value=True, load_default=None)
    status = fields.Enum(TemplateStatus, by_value=True, load_default=None)
    search = text(high=100, load_default=None)


class DefaultResourcesAnswer(WireSchema):
    """Amounts as the app parses them: a map of text to text."""

    cpu = fields.String(**given())
    memory = fields.String(**given())
    storage = fields.String(**given())


class TemplateAnswer(WireSchema):
    """A template; ``image`` is the same as ``docker_image``."""

    id = fields.String(**given())
    name = fields.String(**given())
    display_name = fields.String(**given())
    description = fields.String(**given())
    category = fields.Enum(TemplateCategory, by_value=True, **given())
    status = fields.Enum(TemplateStatus, by_value=True, **given())
    version = fields.String(**given())
    docker_image = fields.String(**given())
    image = fields.String(**given(attribute="docker_image"))
    tags = fields.List(fields.String(), **given())
    startup_commands = fields.List(fields.String(), **given())
    default_resources = fields.Nested(DefaultResourcesAnswer, **given())
    environment_variables = fields.Dict(**given(keys=fields.String(), values=fields.String()))
    default_port = fields.Integer(**maybe())
    documentation_url = fields.String(**maybe())
    icon_url = fields.String(**maybe())
    usage_count = fields.Integer(**given())
    created_at = Instant(**given())
    updated_at = Instant(**given())


class InitializedAnswer(WireSchema):
    """How many of the built-in templates were new; the count of created ones under both of its names."""

    message = fields.String(**given())
    created = fields.Integer(**given())
    templates_created = fields.Integer(**given(attribute="created"))
    skipped = fields.Integer(**given())
