"""Domain objects as documents and back: one rule for all of them, led by the fields of the dataclass.

``id`` is stored as ``_id``, enums as their value, tuples as lists, nested dataclasses as dictionaries. A field that a
stored document lacks takes the dataclass's default, so that a new field needs no migration.
"""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from devpocket.domain.environments import DesiredState, Environment
from devpocket.domain.users import Session, User
from devpocket.store.port import Document

Record = TypeVar("Record")


def environment_to_document(environment: Environment) -> Document:
    """Return the document of ``environment``, with the keys that the indexes need.

    The name is given up as soon as the environment is to be deleted, so that it can be used again at once.
    """
    document = to_document(environment)
    document["settled"] = not environment.needs_driving
    if environment.desired is not DesiredState.DELETED:
        document["name_key"] = environment.name_key
    return document


def environment_from_document(document: Document) -> Environment:
    """Return the environment that ``document`` holds."""
    return from_document(Environment, document)


def user_from_document(document: Document) -> User:
    """Return the user that ``document`` holds."""
    return from_document(User, document)


def session_from_document(document: Document) -> Session:
    """Return the session that ``document`` holds."""
    return from_document(Session, document)


def to_document(record: Any) -> Document:
    """Return the document of a dataclass that has an ``id``."""
    document = {name: _encoded(getattr(record, name)) for name in _hints(type(record))}
    document["_id"] = document.pop("id")
    return document


def from_document(cls: type[Record], document: Document) -> Record:
    """Return the ``cls`` that ``document`` holds; keys that are no field are left out."""
    values = {"id": document["_id"], **document}
    hints = _hints(cls)
    return cls(**{name: _decoded(hint, values[name]) for name, hint in hints.items() if name in values})


_HINTS: dict[type, Mapping[str, Any]] = {}


def _hints(cls: Any) -> Mapping[str, Any]:
    """Return the types of the fields of a dataclass; worked out once per class."""
    if cls not in _HINTS:
        hints = get_type_hints(cls)
        _HINTS[cls] = {field.name: hints[field.name] for field in fields(cls)}
    return _HINTS[cls]


def _encoded(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _encoded(getattr(value, name)) for name in _hints(type(value))}
    if isinstance(value, tuple | list):
        return [_encoded(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _encoded(item) for key, item in value.items()}
    return value


def _decoded(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        hint = next(choice for choice in get_args(hint) if choice is not type(None))
        origin = get_origin(hint)
    if origin is tuple:
        return tuple(_decoded(get_args(hint)[0], item) for item in value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(hint, type) and is_dataclass(hint):
        return from_document(hint, {"_id": None, **value})
    return value
