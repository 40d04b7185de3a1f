"""The one ``Range`` of a request: which bytes of a blob are asked for (RFC 9110, section 14.1.2)."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """Offset and length (at least 1) of what ``header`` asks of ``size`` bytes.

    ``None``: not satisfiable, or not one single range of bytes. A range that reaches past the end is cut there.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        return None
    if not match["first"]:
        if not match["last"]:
            return None
        length = min(int(match["last"]), size)
        return (size - length, length) if length > 0 else None
    first = int(match["first"])
    last = min(int(match["last"]), size - 1) if match["last"] else size - 1
    return (first, last - first + 1) if first <= last else None
