"""What may be stored: every document is checked and copied on its way in, the same for both adapters."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from devpocket.clock import to_milliseconds
from devpocket.store.indexes import CollectionSpec
from devpocket.store.port import Document

_INT64 = 2**63
_MAX_DEPTH = 50
_KEY_TYPES = (str, int, float, datetime)


def normalised(spec: CollectionSpec, document: Document) -> Document:
    """Return a deep copy that reads back exactly as it was written: datetimes UTC and cut to milliseconds.

    Raises :class:`ValueError` (or :class:`TypeError` for a value of a type that cannot be stored), naming the field.
    """
    copy = {name: _copied(value, f"{spec.name}.{name}", 0) for name, value in document.items()}
    document_id, version = copy.get("_id"), copy.setdefault("version", 1)
    if not isinstance(document_id, str) or not document_id:
        raise ValueError(f"{spec.name}: _id must be non-empty text, not {document_id!r}")
    if not isinstance(version, int) or isinstance(version, bool):
        raise TypeError(f"{spec.name}.version must be a whole number, not {version!r}")
    if any(name.startswith("$") for name in copy):
        raise ValueError(f"{spec.name}: a field's name must not start with '$'")
    _check_expiry(spec, copy)
    _check_keys(spec, copy)
    return copy


def _check_expiry(spec: CollectionSpec, document: Document) -> None:
    expires_at = document.get("expires_at")
    if expires_at is None:
        return
    if spec.expires is None:
        raise ValueError(f"{spec.name} does not expire; say so in its row of the table first")
    if not isinstance(expires_at, datetime):
        raise TypeError(f"{spec.name}.expires_at must be a datetime")


def _check_keys(spec: CollectionSpec, document: Document) -> None:
    for index in spec.indexes:
        for field in index.fields:
            value = document.get(field)
            if value is None:
                continue
            if index.unique and not isinstance(value, str):
                raise TypeError(f"{spec.name}.{field} is part of a unique key and must be text")
            if not isinstance(value, _KEY_TYPES):
                raise TypeError(f"{spec.name}.{field} is indexed and cannot be a {type(value).__name__}")


def _copied(value: Any, path: str, depth: int) -> Any:
    if value is None or isinstance(value, (bool, bytes)):
        return value
    if isinstance(value, str):
        value.encode()  # lone surrogates are a UnicodeEncodeError, which is a ValueError
        return str.__str__(value)
    if isinstance(value, (int, float)):
        return _checked_number(value, path)
    if isinstance(value, datetime):
        return moment(value, path)
    if depth == _MAX_DEPTH:
        raise ValueError(f"{path} is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, (list, tuple)):
        return [_copied(item, path, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {_checked_name(name, path): _copied(item, f"{path}.{name}", depth + 1) for name, item in value.items()}
    raise TypeError(f"{path}: a {type(value).__name__} cannot be stored")


def _checked_number(value: float, path: str) -> float:
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            raise ValueError(f"{path} does not fit into 64 bits")
    elif not math.isfinite(value):
        raise ValueError(f"{path} is not a finite number")
    return value


def _checked_name(name: object, path: str) -> str:
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"{path}: {name!r} cannot be a field's name")
    return str(name)


def moment(value: datetime, path: str) -> datetime:
    """Return an aware datetime in UTC, cut to milliseconds; :class:`ValueError` for a naive one."""
    if value.tzinfo is None:
        raise ValueError(f"{path} is a datetime without a time zone")
    return to_milliseconds(value.astimezone(UTC))
