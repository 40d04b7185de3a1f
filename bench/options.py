"""Options that every benchmark has."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path


def telling(parser: ArgumentParser) -> None:
    """``--json`` and ``--save``: in what form, and where, the result is told."""
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of standard output")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write that object to a file, too")
