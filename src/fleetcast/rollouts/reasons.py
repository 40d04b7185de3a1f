"""Machines as a reason names them: a few, those that say the same together, and how many more there are (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from fleetcast.model.limits import REASON_NAMES_MAX
from fleetcast.model.report import NamedFailure, by_reason


def named(entries: Sequence[NamedFailure], total: int) -> str:
    """The first of ``entries`` with what they say, and how many of ``total`` are not named."""
    some = entries[:REASON_NAMES_MAX]
    groups = by_reason((entry.machine, entry.error) for entry in some)
    texts = [", ".join(machines) + (f": {error}" if error else "") for error, machines in groups.items()]
    return "; ".join(texts) + and_more(total - len(some), "; ")


def and_more(count: int, before: str = " ") -> str:
    """Nothing where there are no more."""
    return f"{before}and {count} more" if count > 0 else ""
