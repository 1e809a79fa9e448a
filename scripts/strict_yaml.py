"""YAML that holds no surprises: one document, plain values, no anchors, no tags, no key twice; each with its line.

PyYAML's safe loader keeps the last of two equal keys without a word, and expands aliases of aliases to any size. This
reads the same text through its parser's events, so that depth and aliases are refused before anything is built.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

MAX_DEPTH = 8
Location = tuple[Any, ...]
"""Keys and list positions from the top down to a value."""


class StrictYamlError(ValueError):
    """The text is not what is taken; ``line`` is where, 1 being the first."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """The values of a document, and where they stand."""

    value: dict[str, Any]
    lines: dict[Location, int]

    def line_of(self, location: Location) -> int:
        """Return the line of the value at ``location``, or of the nearest one above it that is there."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def parse_yaml(text: str) -> YamlDocument:
    """Return the one mapping that ``text`` holds; :class:`StrictYamlError` for anything else, at its first problem."""
    try:
        _refuse_surprises(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise StrictYamlError(1, "must be a mapping of keys to values")
        lines: dict[Location, int] = {}
        value = _build(node, (), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise StrictYamlError(mark.line + 1 if mark else 1, f"is not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise StrictYamlError(line, f"is not YAML: {error.reason}") from None
    return YamlDocument(value, lines)


def _refuse_surprises(text: str) -> None:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise StrictYamlError(line, "anchors and aliases are not taken; write the value out")
        if tag := getattr(event, "tag", None):
            raise StrictYamlError(line, f"the tag {tag} is not taken")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if depth > MAX_DEPTH:
            raise StrictYamlError(line, f"is nested more than {MAX_DEPTH} levels deep")
        if documents > 1:
            raise StrictYamlError(line, "holds more than one document")


def _build(node: yaml.Node, location: Location, lines: dict[Location, int]) -> Any:
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*location, position), lines) for position, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(node)
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _scalar(key_node)
        if not isinstance(key, str):
            raise StrictYamlError(line, f"the key {key_node.value!r} must be text; put it in quotes")
        if key in mapping:
            raise StrictYamlError(line, f'the key "{key}" is there twice')
        lines[*location, key] = line
        mapping[key] = _build(value_node, (*location, key), lines)
    return mapping


def _scalar(node: yaml.Node) -> Hashable:
    """Return the value of a scalar as YAML's own rules resolve it (``yes`` is True, ``3.10`` is a number)."""
    if not isinstance(node, yaml.ScalarNode):
        raise StrictYamlError(node.start_mark.line + 1, "a key must be text")
    try:
        value: Hashable = SafeConstructor().construct_object(node)
    except ValueError as error:
        raise StrictYamlError(node.start_mark.line + 1, f"is not YAML: {error}") from None
    return value
