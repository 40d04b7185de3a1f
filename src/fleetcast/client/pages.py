"""Lists of any length, page by page behind an async iterator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from fleetcast.http.session import Params

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class Page(Protocol[Item_co]):
    @property
    def items(self) -> tuple[Item_co, ...]: ...

    @property
    def next(self) -> str | None: ...


def stated(**params: str | int | None) -> Params:
    """What a list is narrowed to, and its page: those parameters that are not ``None``."""
    return {name: value for name, value in params.items() if value is not None}


async def every(page: Callable[[str], Awaitable[Page[Item]]]) -> AsyncIterator[Item]:
    """All items, given how to ask for the page behind a cursor. What is added or removed meanwhile may or may not be seen;
    all else is, once."""
    after: str | None = ""
    while after is not None:
        found = await page(after)
        for item in found.items:
            yield item
        after = found.next
