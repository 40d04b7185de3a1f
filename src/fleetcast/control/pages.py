"""Lists in the API, page by page: how many items, and where the next page begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from fleetcast.model.errors import Invalid
from fleetcast.model.limits import PAGE_ITEMS_MAX

T = TypeVar("T")


def checked_limit(limit: int) -> int:
    """Raises :class:`Invalid` unless a page may have so many items."""
    if not 1 <= limit <= PAGE_ITEMS_MAX:
        raise Invalid("illegal_limit", f"a page has 1 to {PAGE_ITEMS_MAX} items, not {limit}")
    return limit


def number_after(after: str) -> int | None:
    """The row id in a cursor; ``None`` for the first page. Raises :class:`Invalid` for what is no cursor of ours."""
    if not after:
        return None
    if not (after.isascii() and after.isdigit() and 0 < int(after) < 2**63):
        raise Invalid("illegal_cursor", f"{after!r} is no page: give what the page before calls 'next'")
    return int(after)


def cut(rows: Sequence[T], limit: int, cursor: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """The page of ``limit`` rows, and the cursor of the next one. ``rows`` were asked for one more than fit."""
    page = rows[:limit]
    return page, cursor(page[-1]) if len(rows) > limit else None
