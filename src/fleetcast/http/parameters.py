"""Parameters that many routes take, with what is legal in them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from litestar.params import HeaderParameter, QueryParameter

from fleetcast.model.limits import CURSOR_CHARS_MAX, IDEMPOTENCY_KEY_CHARS_MAX, PAGE_ITEMS_MAX

After: TypeAlias = Annotated[
    str,
    QueryParameter(max_length=CURSOR_CHARS_MAX, description="`next` of the page before; empty: from the start."),
]
Limit: TypeAlias = Annotated[int, QueryParameter(ge=1, le=PAGE_ITEMS_MAX, description="Most items of one page.")]
IdempotencyKey: TypeAlias = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        pattern=rf"^[!-~]{{1,{IDEMPOTENCY_KEY_CHARS_MAX}}}$",
        description="Chosen by the caller: the same request with the same key triggers once, and is shown what it made.",
    ),
]
LastEventId: TypeAlias = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID", max_length=CURSOR_CHARS_MAX, description="Of the last event seen: a stream is resumed behind it."
    ),
]
