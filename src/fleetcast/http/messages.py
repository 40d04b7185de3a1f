"""Messages to JSON and back. The types are the frozen dataclasses of ``model``; msgspec does the work at the edge."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeVar, cast

import msgspec

from fleetcast.model import protocol
from fleetcast.model.errors import Invalid
from fleetcast.model.spelling import INTEGER_MAX

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
        value = _looked_at_again(data, shape, error, other, this)
    check_protocol(getattr(value, "protocol", None), other, this)
    return cast(T, value)


def check_protocol(stated: object, other: str, this: str) -> None:
    """Law 13 for one message. What states no version (a goal, a record) is versioned by whoever carries it.

    Raises:
        Incompatible: more than one version away.
    """
    if isinstance(stated, int):
        protocol.check(stated, other, this)


def _looked_at_again(data: bytes | str, into: Any, error: Exception, other: str, this: str) -> object:
    """What the quick way took for no message. JSON has one kind of number, so 1.0 is 1; and what is of a version too far away
    need not look like ours."""
    try:
        plain = _PLAIN.decode(data)
        if isinstance(plain, dict):
            check_protocol(plain.get("protocol"), other, this)
        return msgspec.convert(plain, into)
    except (msgspec.MsgspecError, RecursionError):
        raise Invalid("invalid_message", f"this is no {_name(into)}: {error}") from None


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= INTEGER_MAX else number


_PLAIN: Final = msgspec.json.Decoder(float_hook=_number)


@cache
def _decoder(into: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(into)


def _name(into: type[Any]) -> str:
    return getattr(into, "__name__", str(into))
