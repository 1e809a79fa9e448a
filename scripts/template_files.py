"""Reading template files: strict YAML, and every problem of every file with the line it stands on."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import marshmallow

from devpocket.domain.templates import TemplateDefinition
from devpocket.errors import ConfigurationError
from devpocket.schemas.template_file import UNKNOWN_KEY, DefaultResourcesSchema, TemplateFileSchema
from scripts.strict_yaml import Location, StrictYamlError, YamlDocument, parse_yaml

MAX_FILE_BYTES = 64 * 1024
_KNOWN_KEYS = {"": TemplateFileSchema().fields.keys(), "default_resources": DefaultResourcesSchema().fields.keys()}


@dataclass(frozen=True, slots=True, order=True)
class TemplateProblem:
    """One thing that is wrong: the file, the line (1 is the first) and a sentence."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class TemplateFilesError(ConfigurationError):
    """The folder holds no loadable set; ``problems`` has everything that is wrong, in the order of files and lines."""

    def __init__(self, problems: list[TemplateProblem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def read_templates(directory: Path) -> list[TemplateDefinition]:
    """Return the templates of all ``*.yaml`` and ``*.yml`` files in ``directory``, ordered by file name.

    Raises :class:`TemplateFilesError` with the problems of all files together, and none is returned: unreadable, too
    large, not a plain file, not UTF-8, not YAML, unknown keys, missing ones, wrong values, and a name used twice. Reads
    from the disk, so call it from a thread when a loop is running.
    """
    problems: list[TemplateProblem] = []
    templates: dict[str, tuple[str, TemplateDefinition]] = {}
    for path in _template_files(directory):
        found = _read_template(path, problems)
        if found is None:
            continue
        template, line = found
        if template.name in templates:
            first = templates[template.name][0]
            problems.append(TemplateProblem(path.name, line, f'name: "{template.name}" is used in {first} already'))
        else:
            templates[template.name] = (path.name, template)
    if problems:
        raise TemplateFilesError(problems)
    return [template for _, template in templates.values()]


def _template_files(directory: Path) -> list[Path]:
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix in {".yaml", ".yml"})
    except OSError as error:
        raise TemplateFilesError([TemplateProblem(str(directory), 1, f"cannot be listed: {error.strerror}")]) from None
    if not paths:
        raise TemplateFilesError([TemplateProblem(str(directory), 1, "holds no template file (*.yaml)")])
    return paths


def _read_template(path: Path, problems: list[TemplateProblem]) -> tuple[TemplateDefinition, int] | None:
    """Return the template and the line of its name, or add what is wrong to ``problems``."""
    document = None
    try:
        document = parse_yaml(_read_text(path))
        template: TemplateDefinition = TemplateFileSchema().load(document.value)
    except StrictYamlError as error:
        problems.append(TemplateProblem(path.name, error.line, str(error)))
    except marshmallow.ValidationError as error:
        problems.extend(_explain(path.name, document, error.messages_dict))
    else:
        return template, document.line_of(("name",))
    return None


def _read_text(path: Path) -> str:
    """Return the file's text. A link is refused: what it points to may change, or lie outside the folder."""
    try:
        if path.is_symlink() or not path.is_file():
            raise StrictYamlError(1, "is not a plain file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise StrictYamlError(1, f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise StrictYamlError(1, f"is larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StrictYamlError(content.count(b"\n", 0, error.start) + 1, "is not UTF-8 text") from None


def _explain(file: str, document: YamlDocument | None, messages: Mapping[str, Any]) -> Iterator[TemplateProblem]:
    for location, message in _flatten(messages):
        line = document.line_of(location) if document else 1
        name = _dotted(location)
        sentence = message + _suggestion(location) if message == UNKNOWN_KEY else message
        yield TemplateProblem(file, line, f"{name}: {sentence}" if name else sentence)


def _flatten(messages: Mapping[Any, Any], above: Location = ()) -> Iterator[tuple[Location, str]]:
    for key, below in messages.items():
        if isinstance(below, Mapping):
            yield from _flatten(below, (*above, key))
        else:
            yield from (((*above, key), sentence) for sentence in below)


def _dotted(location: Location) -> str:
    """Return ``tags[0]`` or ``environment_variables.LANG``, without the steps that only marshmallow takes."""
    if location[0] == "environment_variables":
        location = location[:2]
    text = ""
    for step in location:
        if step != marshmallow.exceptions.SCHEMA:
            text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _suggestion(location: Location) -> str:
    known = _KNOWN_KEYS[".".join(str(step) for step in location[:-1])]
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; known are: {', '.join(sorted(known))}"
