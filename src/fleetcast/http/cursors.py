"""Cursors: where a page ended, as text that callers hand back and do not read.

A page goes on behind the sort key of its last item, not behind a number of items: what is added or removed meanwhile neither
shows an item twice nor hides one that was there throughout.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from fleetcast.model.errors import Unprocessable
from fleetcast.model.spelling import INTEGER_MAX

Item = TypeVar("Item")
Place = TypeVar("Place")

Row: TypeAlias = Annotated[int, msgspec.Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
"""A whole number as part of a sort key: a cursor that somebody made up is refused before the database sees it."""


def cursor(place: object) -> str:
    """Of a sort key: a string, or a tuple of strings and numbers."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place(after: str, shape: type[Place]) -> Place | None:
    """The sort key that :func:`cursor` was given; ``None`` for an empty one: from the start.

    Raises:
        Unprocessable: it is no cursor of such a list.
    """
    if not after:
        return None
    try:
        text = base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(text, type=shape)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise illegal(after) from None


def page(found: Sequence[Item], limit: int, place_of: Callable[[Item], object]) -> tuple[tuple[Item, ...], str | None]:
    """Items and ``next`` of a page, from one item more than it may have."""
    items = tuple(found[:limit])
    return items, cursor(place_of(items[-1])) if len(found) > limit else None


def illegal(after: str) -> Unprocessable:
    return Unprocessable(
        "illegal_cursor", f"{after!r} is no place in this list: take `next` of the page before, or leave it out"
    )
