"""A checked selection written as SQL. Names come from the one table, values are always parameters."""

from collections.abc import Iterator
from typing import Any

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


def pages(selection: Selection, page: Page, now_ms: int | None) -> Iterator[Condition]:
    """Give what stands behind ``WHERE`` for one page, the limit missing.

    It may take two statements, one after the other until the limit is reached: those without a value in the ordering
    field come first (last when descending), and one condition for both would not be answered by the index alone.
    """
    direction = "DESC" if page.descending else "ASC"
    order = f'"_id" {direction}' if selection.order is None else f'"{selection.order}" {direction}, "_id" {direction}'
    condition, values = where(selection, now_ms)
    for behind, more in _behind(selection.order, page):
        yield f"{condition} AND {behind} ORDER BY {order} LIMIT ?", [*values, *more]


LIVE = '("expires_at" IS NULL OR "expires_at" > ?)'


def _behind(order: str | None, page: Page) -> list[Condition]:
    if page.after is None:
        return [("1", [])]
    value, document_id = page.after
    than = "<" if page.descending else ">"
    if order is None:
        return [(f'"_id" {than} ?', [document_id])]
    if value is None:
        same: Condition = (f'"{order}" IS NULL AND "_id" {than} ?', [document_id])
        return [same] if page.descending else [same, (f'"{order}" IS NOT NULL', [])]
    bound = column_value(value)
    # The plus signs keep the planner from splitting the OR into two searches and sorting the union.
    further = f'"{order}" {than}= ? AND (+"{order}" {than} ? OR +"_id" {than} ?)'
    parts: list[Condition] = [(further, [bound, bound, document_id])]
    return [*parts, (f'"{order}" IS NULL', [])] if page.descending else parts
