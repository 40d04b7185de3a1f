"""Text from outside on its way to a person: one line, and nothing that a terminal would obey instead of showing it."""

from __future__ import annotations

import re
from typing import Final

_SEQUENCES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, clearing the screen
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC and other strings: titles, links, the clipboard
    r"|[ -/]*[0-~])"
)
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""But for tab and newline. The last two ranges turn the direction of writing round."""


def showable(text: str) -> str:
    """``text`` without control characters and terminal sequences; tabs and line ends stay, a carriage return ends a line."""
    if text.isprintable():
        return text
    text = _SEQUENCES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROLS.sub("", text)


def one_line(text: str) -> str:
    """``text`` as :func:`showable`, its lines and runs of blanks joined."""
    return " ".join(showable(text).split())
