"""What keys and values every key-value store takes, and where the keys of a prefix end."""

from __future__ import annotations

from typing import Final

from fleetcast.model.errors import Invalid
from fleetcast.model.limits import KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX

KEYS_END: Final = b"\xff"
"""Above every UTF-8 text."""


def encoded(key: str) -> bytes:
    """A key or a prefix. Raises :class:`Invalid` for one that is too long, or no text."""
    try:
        data = key.encode()
    except UnicodeEncodeError:
        raise Invalid("illegal_key", f"the key {key!r} is not UTF-8 text") from None
    if len(data) > KV_KEY_BYTES_MAX:
        raise Invalid("illegal_key", f"a key has at most {KV_KEY_BYTES_MAX} bytes, this one {len(data)}: shorten it")
    return data


def check_write(key: str, value: bytes) -> None:
    """Raises :class:`Invalid` for a value that is too long, and for no key."""
    if len(value) > KV_VALUE_BYTES_MAX:
        raise Invalid("value_too_long", f"{key} would have {len(value)} bytes, at most {KV_VALUE_BYTES_MAX} are allowed")
    if not key:
        raise Invalid("illegal_key", "a key has at least one byte")


def end_of(prefix: bytes) -> bytes:
    """The first key behind all that start with ``prefix``; the last byte of UTF-8 text is never 0xff."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else KEYS_END
