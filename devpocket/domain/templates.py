"""What an environment is made from, and how a request is laid over it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from devpocket.domain.environments import Environment, ResourceLimits
from devpocket.ids import EnvironmentId, TemplateId, UserId


class TemplateCategory(StrEnum):
    """The closed set that the app parses; any other value makes its whole list fail."""

    PROGRAMMING_LANGUAGE = "programming_language"
    FRAMEWORK = "framework"
    DATABASE = "database"
    DEVOPS = "devops"
    OPERATING_SYSTEM = "operating_system"


class TemplateStatus(StrEnum):
    """The closed set that the app parses. A deprecated one makes no new environments; those made from it stay."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"
    BETA = "beta"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDefinition:
    """What a template file, or an administrator, says; ``name`` is unique and never changes."""

    name: str
    display_name: str
    description: str
    category: TemplateCategory
    docker_image: str
    default_resources: ResourceLimits
    status: TemplateStatus = TemplateStatus.ACTIVE
    version: str = "1.0.0"
    tags: tuple[str, ...] = ()
    default_port: int | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    startup_commands: tuple[str, ...] = ()
    documentation_url: str | None = None
    icon_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template(TemplateDefinition):
    """A template as it is stored: its definition, and what the server adds.

    ``usage_count`` counts the environments ever made from it; ``store_version`` is for compare-and-set.
    """

    id: TemplateId
    created_at: datetime
    updated_at: datetime
    usage_count: int = 0
    store_version: int = 1

    @property
    def definition(self) -> TemplateDefinition:
        """The part that a file says; equal definitions need no update."""
        return TemplateDefinition(**{each.name: getattr(self, each.name) for each in fields(TemplateDefinition)})

    @property
    def is_usable(self) -> bool:
        """Whether new environments may be made from it."""
        return self.status is not TemplateStatus.DEPRECATED

    def redefined(self, definition: TemplateDefinition, now: datetime) -> "Template":
        """Return it with another definition; id, age and usage stay. ``ValueError`` when the names differ."""
        if definition.name != self.name:
            raise ValueError(f"a template cannot be renamed: {self.name!r} to {definition.name!r}")
        return make_template(
            definition,
            template_id=self.id,
            created_at=self.created_at,
            updated_at=now,
            usage_count=self.usage_count,
            store_version=self.store_version,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asks for when making an environment; ``None`` where nothing was said."""

    name: str
    description: str | None = None
    cpu: str | None = None
    memory: str | None = None
    storage: str | None = None
    max_instances: int | None = None
    variables: Mapping[str, str] | None = None


def make_template(
    definition: TemplateDefinition,
    *,
    template_id: TemplateId,
    created_at: datetime,
    updated_at: datetime,
    usage_count: int = 0,
    store_version: int = 1,
) -> Template:
    """Return the stored form of ``definition``."""
    return Template(
        **{each.name: getattr(definition, each.name) for each in fields(TemplateDefinition)},
        id=template_id,
        created_at=created_at,
        updated_at=updated_at,
        usage_count=usage_count,
        store_version=store_version,
    )


def merge(
    template: Template, wish: Wish, *, environment_id: EnvironmentId, user_id: UserId, now: datetime
) -> Environment:
    """Return the new environment that ``wish`` makes of ``template``.

    What was not said comes from the template; variables are laid over the template's, name by name. Whether a plan
    allows the outcome is not asked here. ``ValueError`` for amounts that are not in Kubernetes' notation.
    """
    environment = Environment(
        id=environment_id,
        user_id=user_id,
        name=wish.name,
        description=wish.description or "",
        template_id=template.id,
        template_name=template.name,
        image=template.docker_image,
        limits=merge_limits(template.default_resources, wish),
        variables=dict(template.environment_variables),
        startup_commands=template.startup_commands,
        port=template.default_port,
        created_at=now,
        updated_at=now,
        phase_since_at=now,
    )
    return environment.with_own_variables(wish.variables or {})


def merge_limits(defaults: ResourceLimits, wish: Wish) -> ResourceLimits:
    """Return the wished amounts, and the defaults where nothing was said."""
    return ResourceLimits(
        cpu=wish.cpu or defaults.cpu,
        memory=wish.memory or defaults.memory,
        storage=wish.storage or defaults.storage,
        max_instances=wish.max_instances or defaults.max_instances,
    )


def template_to_document(template: Template) -> dict[str, Any]:
    """Return ``template`` as the store keeps it."""
    resources = template.default_resources
    return {
        "_id": template.id,
        "version": template.store_version,
        "name": template.name,
        "display_name": template.display_name,
        "description": template.description,
        "category": template.category.value,
        "status": template.status.value,
        "tags": list(template.tags),
        "docker_image": template.docker_image,
        "template_version": template.version,
        "default_port": template.default_port,
        "default_resources": {"cpu": resources.cpu, "memory": resources.memory, "storage": resources.storage},
        "environment_variables": dict(template.environment_variables),
        "startup_commands": list(template.startup_commands),
        "documentation_url": template.documentation_url,
        "icon_url": template.icon_url,
        "created_at": template.created_at,
        "updated_at": template.updated_at,
        "usage_count": template.usage_count,
    }


def template_from_document(document: Mapping[str, Any]) -> Template:
    """Return the template that :func:`template_to_document` wrote; ``KeyError`` or ``ValueError`` for any other."""
    return Template(
        id=TemplateId(document["_id"]),
        store_version=document["version"],
        name=document["name"],
        display_name=document["display_name"],
        description=document["description"],
        category=TemplateCategory(document["category"]),
        status=TemplateStatus(document["status"]),
        tags=tuple(document["tags"]),
        docker_image=document["docker_image"],
        version=document["template_version"],
        default_port=document["default_port"],
        default_resources=ResourceLimits(**document["default_resources"]),
        environment_variables=dict(document["environment_variables"]),
        startup_commands=tuple(document["startup_commands"]),
        documentation_url=document["documentation_url"],
        icon_url=document["icon_url"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        usage_count=document["usage_count"],
    )
