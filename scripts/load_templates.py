"""Bring the stored templates in line with a folder of template files.

``python -m scripts.load_templates [--dry-run] [--prune] [FOLDER]`` is ``python -m devpocket load-templates``.
"""

import asyncio
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from devpocket.clock import Clock
from devpocket.domain.templates import (
    Template,
    TemplateDefinition,
    TemplateStatus,
    make_template,
    template_from_document,
    template_to_document,
)
from devpocket.errors import UnavailableError
from devpocket.ids import TemplateId, new_id
from devpocket.store.errors import DuplicateKeyError, VersionConflictError
from devpocket.store.port import MAX_LIMIT, Collection, Document, Store
from scripts.template_files import read_templates

TEMPLATES_FOLDER = Path(__file__).parent / "templates"
"""The templates that come with the product."""

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The names of the templates by what became of them (or, in a dry run, would have)."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    deprecated: tuple[str, ...] = ()
    dry_run: bool = False

    def __str__(self) -> str:
        parts = [f"{len(names)} {what}{_listed(names)}" for what, names in self._by_outcome() if names]
        return ("would be: " if self.dry_run else "") + (", ".join(parts) or "nothing to do")

    def _by_outcome(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (
            ("created", self.created),
            ("updated", self.updated),
            ("unchanged", self.unchanged),
            ("deprecated", self.deprecated),
        )


async def load_templates(
    store: Store, directory: Path, *, dry_run: bool = False, prune: bool = False, clock: Clock
) -> LoadReport:
    """Create and update the stored templates from the files in ``directory``; return what was done.

    Run twice it changes nothing the second time; ids and usage counts stay, and two processes may do it at once. With
    ``prune`` stored templates without a file become deprecated; environments made from them stay. With ``dry_run``
    nothing is written. Raises :class:`~scripts.template_files.TemplateFilesError`, before anything is written, when any
    file is wrong. Cancelling leaves each template either as it was or as its file says.
    """
    definitions = await asyncio.to_thread(read_templates, directory)
    outcomes: dict[str, list[str]] = {"created": [], "updated": [], "unchanged": [], "deprecated": []}
    for definition in definitions:
        outcome = await _bring_in_line(store.templates, definition, clock, dry_run=dry_run)
        outcomes[outcome].append(definition.name)
    if prune:
        for template in await _without_file(store.templates, {definition.name for definition in definitions}):
            deprecated = replace(template.definition, status=TemplateStatus.DEPRECATED)
            await _bring_in_line(store.templates, deprecated, clock, dry_run=dry_run)
            outcomes["deprecated"].append(template.name)
    return LoadReport(**{outcome: tuple(names) for outcome, names in outcomes.items()}, dry_run=dry_run)


async def _bring_in_line(templates: Collection, definition: TemplateDefinition, clock: Clock, *, dry_run: bool) -> str:
    """Make the stored template say what ``definition`` says; again when somebody else wrote in between."""
    for _ in range(_ATTEMPTS):
        document = await templates.get_by("name", definition.name)
        stored = template_from_document(document) if document else None
        if stored and stored.definition == definition:
            return "unchanged"
        try:
            if not dry_run:
                await _write(templates, stored, definition, clock)
        except (DuplicateKeyError, VersionConflictError):
            continue
        return "updated" if stored else "created"
    raise UnavailableError(f"The template {definition.name} keeps being changed by somebody else; try again.")


async def _write(templates: Collection, stored: Template | None, definition: TemplateDefinition, clock: Clock) -> None:
    now = clock.now()
    if stored:
        await templates.replace(template_to_document(stored.redefined(definition, now)))
    else:
        made = make_template(definition, template_id=TemplateId(new_id()), created_at=now, updated_at=now)
        await templates.insert(template_to_document(made))


async def _without_file(templates: Collection, names: set[str]) -> list[Template]:
    """Return the stored, not yet deprecated templates of other names."""
    found: list[Template] = []
    page: list[Document] = []
    while page := await templates.query("id", limit=MAX_LIMIT, after=page[-1] if page else None):
        found += [template_from_document(document) for document in page]
    return [template for template in found if template.is_usable and template.name not in names]


def _listed(names: tuple[str, ...]) -> str:
    return f" ({', '.join(names)})"


if __name__ == "__main__":
    from devpocket.cli import main

    sys.argv[1:1] = ["load-templates"]
    main()
