"""Parameters that many routes take, with what is legal in them.

Where a rule is given as ``schema_extra``, it is the handler that checks it, and says in words of its own what is wrong.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias, TypeVar

from litestar.params import HeaderParameter, PathParameter, QueryParameter

from fleetcast.model.errors import Invalid
from fleetcast.model.ids import BUILD, DIGEST, NAME
from fleetcast.model.limits import CURSOR_CHARS_MAX, IDEMPOTENCY_KEY_CHARS_MAX, PAGE_ITEMS_MAX

Choice = TypeVar("Choice", bound=StrEnum)

ServiceInPath: TypeAlias = Annotated[str, PathParameter(schema_extra=NAME.schema, description="A service's name.")]
RegionInPath: TypeAlias = Annotated[str, PathParameter(schema_extra=NAME.schema, description="A region's name.")]
MachineInPath: TypeAlias = Annotated[str, PathParameter(schema_extra=NAME.schema, description="A machine's id.")]
DeploymentInPath: TypeAlias = Annotated[str, PathParameter(description="A deployment's id.")]
BuildInPath: TypeAlias = Annotated[int, PathParameter(schema_extra=BUILD.extra_json_schema, description="A build's number.")]
DigestInPath: TypeAlias = Annotated[str, PathParameter(schema_extra=DIGEST.schema, description="An artifact's digest.")]

OfService: TypeAlias = Annotated[str | None, QueryParameter(schema_extra=NAME.schema, description="Those of one service only.")]
OfRegion: TypeAlias = Annotated[str | None, QueryParameter(schema_extra=NAME.schema, description="Those of one region only.")]
After: TypeAlias = Annotated[
    str,
    QueryParameter(
        max_length=CURSOR_CHARS_MAX,
        pattern=r"^[A-Za-z0-9_-]*$",
        description="`next` of the page before; empty: from the start.",
    ),
]
Limit: TypeAlias = Annotated[int, QueryParameter(ge=1, le=PAGE_ITEMS_MAX, description="Most items of one page.")]
WaitS: TypeAlias = Annotated[
    float, QueryParameter(ge=0, description="Seconds to wait for news before the answer; no longer than the route allows.")
]
Seen: TypeAlias = Annotated[str, QueryParameter(description="`version` of the last answer: wait for another one.")]
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


def chosen(kind: type[Choice], text: str | None) -> Choice | None:
    """What a parameter names of an enumeration. As one of its type, Litestar would take ``null`` for none.

    Raises:
        Invalid: it names none.
    """
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        raise Invalid("illegal_choice", f"{text!r} is none of {', '.join(kind)}") from None
