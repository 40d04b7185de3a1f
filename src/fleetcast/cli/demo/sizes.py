"""Sizes as people write them (pure)."""

from __future__ import annotations

import re
from typing import Final

from fleetcast.model.errors import Invalid
from fleetcast.model.limits import ARTIFACT_CONTENT_BYTES_MAX

_FACTORS: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def parse_size(text: str) -> int:
    """Bytes of ``1GiB``, ``64 MiB``, ``10MB`` or ``4096``.

    Raises:
        Invalid: not a size, or more than an artifact may have.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match or match[2].upper() not in _FACTORS:
        raise Invalid("bad_size", f"{text!r} is not a size: write for instance 64MiB or 1GiB")
    size = int(float(match[1]) * _FACTORS[match[2].upper()])
    if size > ARTIFACT_CONTENT_BYTES_MAX:
        raise Invalid("bad_size", f"{text} is more than the {ARTIFACT_CONTENT_BYTES_MAX // 10**9} GB an artifact may have")
    return size
