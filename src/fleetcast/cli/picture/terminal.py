"""What a stream can show."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, TextIO

from fleetcast.cli.picture.text import ASCII, UNICODE, Symbols

_UNABLE: Final = frozenset({"", "dumb", "unknown"})


def can_show(stream: TextIO) -> bool:
    """Whether a picture can be drawn there: a terminal that moves its cursor."""
    return stream.isatty() and os.environ.get("TERM", "") not in _UNABLE


def symbols_for(stream: TextIO, environ: Mapping[str, str]) -> Symbols:
    """What the terminal behind ``stream`` can show. The console of a Linux host has UTF-8 and few of the characters."""
    locale = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := environ.get(name))), "")
    unicode = "UTF" in locale.upper() and (stream.encoding or "").upper().startswith("UTF")
    return UNICODE if unicode and environ.get("TERM") != "linux" else ASCII
