"""The documentation says what is true: links lead somewhere, and what it names is there."""

import importlib.util
import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from devpocket.cli import cli
from devpocket.metrics import Metrics
from devpocket.settings.load import all_settings
from handlers.routes import ROUTES, SOCKET_ROUTES

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in chain(ROOT.glob("*.md"), ROOT.glob("docs/**/*.md"), ROOT.glob("benchmarks/*.md"))
    if path.name != "CHANGELOG.md"
)
FOLDERS = ("actors", "benchmarks", "config", "devpocket", "docs", "handlers", "scripts", "tests")
SETTINGS = {source.name for _, _, source in all_settings()}
OTHER_VARIABLES = {
    "ADMIN_PASSWORD",
    "DEVPOCKET_TOKEN",
    "DEVPOCKET_URL",
    "MONGODB_TEST_COMMAND",
    "MONGODB_TEST_URL",
    "REDIS_TEST_URL",
}
"""Variables that the documentation names and that are no settings of the server."""
FOREIGN = re.compile(
    r"(?<![\w.])/work/|(?<!\w)\.\./shared/|\bissues? #?\d|\bTODO\b|\bFIXME\b|/root/\.\w+", re.IGNORECASE
)
"""The project speaks of itself alone, and of nobody's machine."""

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """Return a page without its blocks of code."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Return what a link may name of a page, made of its headings as GitHub makes it."""
    words = (re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading).strip().lower() for heading in _HEADING.findall(prose(path)))
    return {re.sub(r"[^\w\- ]", "", each).replace(" ", "-") for each in words}


def shell_blocks(path: Path) -> str:
    return "".join(SHELL_BLOCK.findall(path.read_text(encoding="utf-8")))


def inline_code(path: Path) -> Iterator[str]:
    yield from _CODE.findall(prose(path))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    lost = []
    for target in _LINK.findall(prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_that_are_named_are_there(page):
    lost = []
    for code in inline_code(page):
        path = code.removesuffix("/")
        if path.partition("/")[0] in FOLDERS and "/" in code and re.fullmatch(r"[\w./*-]+", path):
            found = list(ROOT.glob(path)) if "*" in path else [each for each in [ROOT / path] if each.exists()]
            if not found and not list(ROOT.glob(f"{path}.py")):
                lost.append(code)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_settings_that_are_named_are_read_by_somebody(page):
    words = re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b(?==)", shell_blocks(page))
    words += [word for code in inline_code(page) for word in re.findall(r"^([A-Z]+(?:_[A-Z]+)+)(?:=.*)?$", code)]
    constants = set(re.findall(r"^([A-Z_]+)(?:: .*)? = ", all_sources(), re.MULTILINE))
    unknown = set(words) - SETTINGS - OTHER_VARIABLES - constants
    assert {word for word in unknown if not word.startswith("TCP_")} == set()  # options of tcp(7)


def all_sources() -> str:
    paths = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in ("actors", "devpocket", "handlers"))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_every_page_is_in_the_index():
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in _LINK.findall(prose(index))}
    assert {path for path in index.parent.glob("*.md") if path != index} <= linked
    decisions = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in index.parent.glob("decisions/0*.md") if f"({path.name})" not in decisions] == []


def test_every_setting_is_documented():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in SETTINGS:
        assert f"\n#{name}=" in example
        assert f"### `{name}`" in page


def test_every_route_is_documented():
    rest = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    sockets = (ROOT / "docs" / "websocket.md").read_text(encoding="utf-8")
    assert [route.path for route in ROUTES if not is_written(route.path, rest)] == []
    assert [route.path for route in SOCKET_ROUTES if not is_written(route.path, sockets)] == []


def is_written(path: str, page: str) -> bool:
    """Tell whether a page names a path; its parameters may have other names, and the prefix may be left out."""
    short = path.removeprefix("/api/v1")
    pattern = re.sub(r"\\{\w+\\}", r"\\{\\w+\\}", re.escape(short))
    return re.search(rf"{pattern}(?![\w/{{-])", page) is not None


def test_metrics_that_are_named_exist():
    known = set(re.findall(r"^# TYPE (\w+)", Metrics("1", "test").render().decode(), re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        written = set(re.findall(r"\bdevpocket_(?:[a-z]+_)*[a-z]+\b(?![{.])", prose_of_metrics(text)))
        assert {name for name in written if not is_metric(name, known)} == set(), page.name


def prose_of_metrics(text: str) -> str:
    """Return a page without names of tmux sessions and of the package, which begin like metrics."""
    return re.sub(r"devpocket_\{\w+\}|devpocket_server\S*", "", text)


def is_metric(name: str, known: set[str]) -> bool:
    return bool(known & {name, f"{name}_total", name.removesuffix("_total"), f"{name}_info"})


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_exist(page):
    text = shell_blocks(page) + "\n".join(inline_code(page))
    for script in re.findall(r"(?<![\w.])\./(\w+\.sh)", text):
        assert os.access(ROOT / script, os.X_OK), script
    for module in re.findall(r"python3? -m ([\w.]+)", text):
        if module.partition(".")[0] in FOLDERS:
            assert importlib.util.find_spec(module), module
    for command in re.findall(r"-m devpocket ([a-z][\w-]*)", text):
        assert command in cli.commands, command


def test_the_project_speaks_of_itself_alone():
    found = []
    for path in (each for folder in FOLDERS for each in (ROOT / folder).rglob("*")):
        if path.suffix not in {".md", ".py", ".yaml", ".conf", ".sh"} or path == Path(__file__):
            continue
        found += [f"{named(path)}: {hit[0]}" for hit in FOREIGN.finditer(path.read_text(encoding="utf-8"))]
    for path in (each for each in ROOT.iterdir() if each.is_file() and each.suffix in {".md", ".toml", ".cfg", ".sh"}):
        found += [f"{named(path)}: {hit[0]}" for hit in FOREIGN.finditer(path.read_text(encoding="utf-8"))]
    assert found == []
