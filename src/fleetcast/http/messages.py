"""Messages to JSON and back. The types are the frozen dataclasses of ``model``; msgspec does the work at the edge."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeVar, cast

import msgspec

from fleetcast.model import protocol
from fleetcast.model.errors import Invalid

T = TypeVar("T")

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"
END: Final = "end"
"""Name of the server-sent event behind which there is nothing to resume."""
CALLER: Final = "the caller"
SERVER: Final = "the server"


def encode(value: object) -> bytes:
    """UTF-8 JSON of a message or of any dataclass of ``model``."""
    return msgspec.json.encode(value)


def decode(data: bytes | str, into: type[T], other: str = "the other side", this: str = "this program") -> T:
    """The value of type ``into`` that ``data`` spells. Unknown fields are ignored. ``other`` and ``this``: see
    :func:`fleetcast.model.protocol.check`.

    Raises:
        Invalid: not JSON, or a field is missing or of another type (the message names its path).
        Incompatible: the message's ``protocol`` is more than one version away.
    """
    shape: Any = into
    try:
        value = _decoder(shape).decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Invalid("invalid_message", f"this is no {_name(into)}: {error}") from None
    check_protocol(getattr(value, "protocol", None), other, this)
    return cast(T, value)


def check_protocol(stated: object, other: str, this: str) -> None:
    """Law 13 for one message. What states no version (a goal, a record) is versioned by whoever carries it.

    Raises:
        Incompatible: more than one version away.
    """
    if isinstance(stated, int):
        protocol.check(stated, other, this)


@cache
def _decoder(into: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(into)


def _name(into: type[Any]) -> str:
    return getattr(into, "__name__", str(into))
