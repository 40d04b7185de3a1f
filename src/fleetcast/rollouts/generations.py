"""The generation of the next goal that somebody asks for (pure, law 3)."""

from __future__ import annotations

from collections.abc import Iterable

from fleetcast.model.generation import Generation


def after(last: Generation, elsewhere: Iterable[Generation], now_ms: int) -> Generation:
    """Above ``last``, which control wrote, and above what was written ``elsewhere``, by regions past control: there in an epoch
    that is higher still. ``now_ms``: UTC."""
    highest = max(elsewhere, default=last)
    return last.next() if highest <= last else highest.raised(now_ms)
