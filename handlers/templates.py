"""Templates: everybody reads them, administrators change them."""

from devpocket.domain.templates import TemplateDefinition
from devpocket.schemas.service import MessageAnswer
from devpocket.schemas.templates import (
    CreateTemplateRequest,
    InitializedAnswer,
    TemplateAnswer,
    TemplatesQuery,
    UpdateTemplateRequest,
)
from handlers.base import BaseHandler
from handlers.operations import operation
from handlers.paths import Route


class TemplatesHandler(BaseHandler):
    """All templates."""

    @operation("List templates", allow="templates:read", query=TemplatesQuery, answer=TemplateAnswer, many=True)
    async def get(self) -> None:
        """Answer with a bare array, the most used first."""
        self.answer(await self.backend.templates.list(**self.query()))

    @operation(
        "Add a template",
        allow="admin:templates",
        body=CreateTemplateRequest,
        answer=TemplateAnswer,
        status=201,
        refuses=(409,),
    )
    async def post(self) -> None:
        """Answer with the new template."""
        self.answer(await self.backend.templates.create(TemplateDefinition(**self.body()), self.caller))


class TemplateHandler(BaseHandler):
    """One template, by id or by name."""

    @operation("Show a template", allow="templates:read", answer=TemplateAnswer, refuses=(404,))
    async def get(self, template_id: str) -> None:
        """Answer with it; a deprecated one is not found."""
        self.answer(await self.backend.templates.get_usable(template_id))

    @operation(
        "Change a template", allow="admin:templates", body=UpdateTemplateRequest, answer=TemplateAnswer, refuses=(404,)
    )
    async def put(self, template_id: str) -> None:
        """Change what the body names and answer with it as it is then."""
        self.answer(await self.backend.templates.update(template_id, self.body(), self.caller))

    @operation("Deprecate a template", allow="admin:templates", answer=MessageAnswer, refuses=(404,))
    async def delete(self, template_id: str) -> None:
        """Make no new environments from it; those that were made stay."""
        await self.backend.templates.deprecate(template_id, self.caller)
        self.answer({"message": "The template is deprecated."})


class InitializeTemplatesHandler(BaseHandler):
    """The built-in templates."""

    @operation("Load the built-in templates", allow="admin:templates", answer=InitializedAnswer)
    async def post(self) -> None:
        """Add those that are missing."""
        created, skipped = await self.backend.templates.initialize(self.caller)
        self.answer({"message": f"{created} templates were added.", "created": created, "skipped": skipped})


ROUTES = (
    Route("/api/v1/templates", TemplatesHandler),
    Route("/api/v1/templates/initialize", InitializeTemplatesHandler),
    Route("/api/v1/templates/{template_id}", TemplateHandler),
)
