"""A checked selection written as SQL. Names come from the one table, values are always parameters."""

from typing import Any

from devpocket.store.port import Key
from devpocket.store.selection import Page, Selection
from devpocket.store.sqlite.schema import column_value

Condition = tuple[str, list[Any]]


def where(selection: Selection, now_ms: int | None) -> Condition:
    """Return the condition and its parameters; with ``now_ms`` expired rows are left out."""
    parts: list[str] = []
    values: list[Any] = []
    for field, value in selection.equal:
        if value is None:
            parts.append(f'"{field}" IS NULL')
        else:
            parts.append(f'"{field}" = ?')
            values.append(column_value(value))
    for operator, bound in ((">=", selection.lower), ("<", selection.upper)):
        if bound is not None:
            parts.append(f'"{selection.order}" {operator} ?')
            values.append(column_value(bound))
    parts.extend(f'"{field}" IS NOT NULL' for field in selection.required)
    if now_ms is not None:
        parts.append(LIVE)
        values.append(now_ms)
    return " AND ".join(parts) or "1", values


def page(selection: Selection, page: Page, now_ms: int | None) -> Condition:
    """Return everything behind ``WHERE`` for one page: condition, order and limit."""
    condition, values = where(selection, now_ms)
    if page.after is not None:
        behind, more = _behind(selection.order, *page.after, descending=page.descending)
        condition = f"{condition} AND {behind}"
        values += more
    direction = "DESC" if page.descending else "ASC"
    order = f'"_id" {direction}' if selection.order is None else f'"{selection.order}" {direction}, "_id" {direction}'
    return f"{condition} ORDER BY {order} LIMIT ?", [*values, page.limit]


LIVE = '("expires_at" IS NULL OR "expires_at" > ?)'


def _behind(order: str | None, value: Key, document_id: str, *, descending: bool) -> Condition:
    than = "<" if descending else ">"
    if order is None:
        return f'"_id" {than} ?', [document_id]
    if value is not None:
        bound = column_value(value)
        rest = f'"{order}" IS NULL OR ' if descending else ""  # NULL comes first, so last when descending
        return f'({rest}"{order}" {than} ? OR ("{order}" = ? AND "_id" {than} ?))', [bound, bound, document_id]
    same = f'("{order}" IS NULL AND "_id" {than} ?)'
    return (same if descending else f'({same} OR "{order}" IS NOT NULL)'), [document_id]
