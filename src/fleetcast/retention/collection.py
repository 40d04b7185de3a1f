"""What to collect, and why the rest stays (pure).

What is protected or was used a moment ago stays whatever the bounds say. Of the rest goes what was not used for long, what is
beyond so many of its service, and then, what was used longest ago first, what is beyond the bytes of all together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fleetcast.model.ids import Digest, ServiceName
from fleetcast.model.spans import span

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one tier."""

    days: float
    """Since the last use."""
    per_service: int
    """Artifacts of one service beside those that are protected."""
    bytes: int
    """Of all artifacts, protected ones included; 0: no bound."""
    grace_s: float
    """After a use of it an artifact stays for so long."""


@dataclass(frozen=True, slots=True)
class Held:
    """An artifact that a tier has."""

    digest: Digest
    services: frozenset[ServiceName]
    """Whose it is: several where two services gave equal files."""
    size: int
    """Bytes."""
    used_at_ms: int
    """When it was built, or a deployment of it ended, last; of an unfinished one: began."""
    protection: str = ""
    """Why it may not go; empty: it may."""


@dataclass(frozen=True, slots=True)
class Verdict:
    held: Held
    collect: bool
    reason: str


def judge(held: Sequence[Held], bounds: Bounds, now_ms: int) -> tuple[Verdict, ...]:
    """A verdict on each, what was used last first."""
    verdicts: list[Verdict] = []
    beside: Counter[ServiceName] = Counter()
    for each in sorted(held, key=lambda one: (-one.used_at_ms, one.digest)):
        stays = each.protection or _young(each, bounds, now_ms)
        if stays:
            verdicts.append(Verdict(each, False, stays))
            continue
        beside.update(each.services)
        verdicts.append(_by_age_and_count(each, bounds, beside, now_ms))
    return _within_bytes(verdicts, bounds, now_ms)


def _young(each: Held, bounds: Bounds, now_ms: int) -> str:
    # A use that is yet to come was dated before the clock was set back: it is no older than any other.
    if now_ms - each.used_at_ms < bounds.grace_s * 1000:
        return f"it was used less than {span(bounds.grace_s)} ago"
    return ""


def _by_age_and_count(each: Held, bounds: Bounds, beside: Counter[ServiceName], now_ms: int) -> Verdict:
    unused_s = (now_ms - each.used_at_ms) / 1000
    if unused_s > bounds.days * _DAY_S:
        return Verdict(each, True, f"it was not used for {span(unused_s)}, more than {bounds.days:g} days")
    if all(beside[service] > bounds.per_service for service in each.services):
        of = " and ".join(sorted(each.services))
        return Verdict(each, True, f"more than {bounds.per_service} of {of} are there that nobody needs")
    return Verdict(each, False, f"it was used {span(unused_s)} ago")


def _within_bytes(verdicts: Sequence[Verdict], bounds: Bounds, now_ms: int) -> tuple[Verdict, ...]:
    """The same, and what was used longest ago goes until the bytes are within their bound."""
    left = sum(verdict.held.size for verdict in verdicts if not verdict.collect)
    judged: list[Verdict] = []
    for verdict in reversed(verdicts):
        held = verdict.held
        free = not (verdict.collect or held.protection or _young(held, bounds, now_ms))
        if bounds.bytes and free and left > bounds.bytes:
            left -= held.size
            verdict = Verdict(held, True, f"all together are {left + held.size} bytes, more than {bounds.bytes}")
        judged.append(verdict)
    return tuple(reversed(judged))
