"""Loading template files into a store: what is new, changed, unchanged, and no longer there."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devpocket.domain.templates import TemplateStatus, template_from_document
from devpocket.store import open_store
from devpocket.store.port import Store
from scripts.load_templates import TEMPLATES_FOLDER, LoadReport, load_templates
from scripts.template_files import TemplateFilesError


class SteppingClock:
    """Every look is a second later than the one before."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


CLOCK = SteppingClock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db", CLOCK)
    await opened.start()
    yield opened
    await opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    folder.mkdir()
    for name in ("one", "two"):
        write(folder, name)
    return folder


def write(folder: Path, name: str, more: str = "") -> None:
    (folder / f"{name}.yaml").write_text(f"""\
name: {name}
display_name: {name.title()}
description: The template {name}
category: devops
docker_image: debian:12
default_resources: {{cpu: 500m, memory: 1Gi, storage: 5Gi}}
{more}
""")


async def load(store: Store, folder: Path, *, dry_run: bool = False, prune: bool = False) -> LoadReport:
    return await load_templates(store, folder, dry_run=dry_run, prune=prune, clock=CLOCK)


async def stored(store: Store, name: str):
    document = await store.templates.get_by("name", name)
    assert document
    return template_from_document(document)


async def test_new_ones_are_created_and_a_second_run_changes_nothing(store: Store, folder: Path):
    assert await load(store, folder) == LoadReport(created=("one", "two"))
    before = await stored(store, "one")
    assert before.usage_count == 0
    assert before.created_at == before.updated_at
    assert await load(store, folder) == LoadReport(unchanged=("one", "two"))
    assert await stored(store, "one") == before


async def test_a_changed_file_keeps_id_age_and_usage(store: Store, folder: Path):
    await load(store, folder)
    document = await store.templates.get_by("name", "one")
    assert document
    await store.templates.replace({**document, "usage_count": 7})
    before = await stored(store, "one")
    write(folder, "one", "tags: [new]")
    assert await load(store, folder) == LoadReport(updated=("one",), unchanged=("two",))
    after = await stored(store, "one")
    assert (after.id, after.created_at, after.usage_count, after.tags) == (before.id, before.created_at, 7, ("new",))
    assert after.updated_at > before.updated_at


async def test_only_prune_deprecates_what_has_no_file_and_a_file_brings_it_back(store: Store, folder: Path):
    await load(store, folder)
    (folder / "two.yaml").unlink()
    assert await load(store, folder) == LoadReport(unchanged=("one",))
    assert (await stored(store, "two")).status is TemplateStatus.ACTIVE
    assert await load(store, folder, prune=True) == LoadReport(unchanged=("one",), deprecated=("two",))
    assert (await stored(store, "two")).status is TemplateStatus.DEPRECATED
    assert await load(store, folder, prune=True) == LoadReport(unchanged=("one",))
    write(folder, "two")
    assert await load(store, folder) == LoadReport(updated=("two",), unchanged=("one",))
    assert (await stored(store, "two")).status is TemplateStatus.ACTIVE


async def test_a_dry_run_says_the_same_and_writes_nothing(store: Store, folder: Path):
    assert await load(store, folder, dry_run=True) == LoadReport(created=("one", "two"), dry_run=True)
    assert await store.templates.count("id") == 0
    await load(store, folder)
    write(folder, "one", "tags: [new]")
    (folder / "two.yaml").unlink()
    report = await load(store, folder, dry_run=True, prune=True)
    assert report == LoadReport(updated=("one",), deprecated=("two",), dry_run=True)
    assert str(report) == "would be: 1 updated (one), 1 deprecated (two)"
    assert (await stored(store, "one")).tags == ()
    assert (await stored(store, "two")).status is TemplateStatus.ACTIVE


async def test_one_wrong_file_and_nothing_is_written(store: Store, folder: Path):
    write(folder, "two", "colour: red")
    with pytest.raises(TemplateFilesError, match="colour: unknown key"):
        await load(store, folder)
    assert await store.templates.count("id") == 0


async def test_a_change_by_somebody_else_in_between_loses_nothing(store: Store, folder: Path, monkeypatch):
    await load(store, folder)
    write(folder, "one", "tags: [new]")
    templates, read = store.templates, store.templates.get_by
    used = 0

    async def read_and_be_overtaken(index: str, *values: str):
        nonlocal used
        document = await read(index, *values)
        if document and document["name"] == "one" and used < 2:
            used += 1
            await templates.replace({**document, "usage_count": used})
        return document

    monkeypatch.setattr(templates, "get_by", read_and_be_overtaken)
    assert await load(store, folder) == LoadReport(updated=("one",), unchanged=("two",))
    monkeypatch.undo()
    template = await stored(store, "one")
    assert (template.usage_count, template.tags) == (2, ("new",))


async def test_the_templates_of_the_product_load(store: Store):
    assert len((await load(store, TEMPLATES_FOLDER)).created) == 10
    assert len((await load(store, TEMPLATES_FOLDER, prune=True)).unchanged) == 10
