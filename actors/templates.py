"""The templates, as services and handlers ask for them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from actors.audit import Audit
from actors.messages import Caller
from actors.ports import Ports
from devpocket.domain.templates import (
    Template,
    TemplateCategory,
    TemplateDefinition,
    TemplateStatus,
    make_template,
    template_from_document,
    template_to_document,
)
from devpocket.errors import ConflictError, NotFoundError, UnavailableError
from devpocket.ids import TemplateId, new_id
from devpocket.store.errors import DuplicateKeyError, VersionConflictError
from devpocket.store.port import MAX_LIMIT

_TRIES = 10


class Templates:
    """Reads and changes templates; a handful of small documents, so lists are filtered here."""

    def __init__(self, ports: Ports, audit: Audit, load: Callable[[], Awaitable[tuple[int, int]]]) -> None:
        """``load`` brings the templates that came with the server into the store, see :meth:`initialize`."""
        self._ports = ports
        self._audit = audit
        self._load = load

    async def list(
        self,
        *,
        category: TemplateCategory | None = None,
        status: TemplateStatus | None = None,
        search: str | None = None,
    ) -> Sequence[Template]:
        """Return those that match, most used first; active and beta ones unless a status is asked for."""
        documents = await self._ports.store.templates.query("name", limit=MAX_LIMIT)
        templates = [template_from_document(document) for document in documents]
        matching = [
            each
            for each in templates
            if (each.status is status if status else each.is_usable)
            and (category is None or each.category is category)
            and (not search or _mentions(each, search.casefold()))
        ]
        return sorted(matching, key=lambda each: (-each.usage_count, each.name))

    async def get(self, id_or_name: str) -> Template:
        """Return the template of that id or name; NotFoundError for none."""
        document = await self._ports.store.templates.get(id_or_name)
        document = document or await self._ports.store.templates.get_by("name", id_or_name)
        if document is None:
            raise NotFoundError("There is no such template.")
        return template_from_document(document)

    async def get_usable(self, id_or_name: str) -> Template:
        """Return a template that new environments may be made from; NotFoundError for none or a deprecated one."""
        template = await self.get(id_or_name)
        if not template.is_usable:
            raise NotFoundError("There is no such template.")
        return template

    async def create(self, definition: TemplateDefinition, by: Caller) -> Template:
        """Store a new one; ConflictError when the name is taken."""
        now = self._ports.clock.now()
        template = make_template(definition, template_id=TemplateId(new_id()), created_at=now, updated_at=now)
        try:
            await self._ports.store.templates.insert(template_to_document(template))
        except DuplicateKeyError as error:
            raise ConflictError("There is a template of this name already.", code="name_taken") from error
        await self._note("template_created", by, template=template.name)
        return template

    async def update(self, template_id: str, changes: Mapping[str, Any], by: Caller) -> Template:
        """Change fields of the definition, never the name, and return it; NotFoundError for none."""
        now = self._ports.clock.now()
        template = await self._change(template_id, lambda each: replace(each, **changes, updated_at=now))
        await self._note("template_changed", by, template=template.name, fields=sorted(changes))
        return template

    async def deprecate(self, template_id: str, by: Caller) -> None:
        """Let no new environments be made from it; those that exist stay."""
        await self.update(template_id, {"status": TemplateStatus.DEPRECATED}, by)

    async def count_use(self, template_id: str) -> None:
        """Count one more environment made from it."""
        await self._change(template_id, lambda each: replace(each, usage_count=each.usage_count + 1))

    async def initialize(self, by: Caller) -> tuple[int, int]:
        """Load the templates that came with the server; return how many were written and how many were left alone."""
        written, kept = await self._load()
        await self._note("templates_initialized", by, written=written, kept=kept)
        return written, kept

    async def _note(self, action: str, by: Caller, **detail: Any) -> None:
        await self._audit.note(action, by.origin, user_id=by.user.id, **detail)

    async def _change(self, template_id: str, decide: Callable[[Template], Template]) -> Template:
        for _ in range(_TRIES):
            changed = decide(await self.get(template_id))
            try:
                return template_from_document(await self._ports.store.templates.replace(template_to_document(changed)))
            except VersionConflictError:
                continue
        raise UnavailableError("The template is busy; try again.", retry_after_s=1)


def _mentions(template: Template, text: str) -> bool:
    said = (template.name, template.display_name, template.description, *template.tags)
    return any(text in each.casefold() for each in said)
