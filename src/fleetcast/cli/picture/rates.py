"""How fast bytes move, from successive samples (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fleetcast.model.ids import RegionName
from fleetcast.model.messages.deployments import DeploymentDetail

WINDOW_S: Final = 6.0
"""Rates are means over about so long: what one report more or less adds is not to be seen."""
STALE_S: Final = 15.0
"""Without news for so long nothing is known of a rate."""
APART_S_MIN: Final = 0.2
"""Samples closer to each other are one: a tiny difference of times makes any rate."""
SPAN_S_MIN: Final = 0.5
LEFT_S_MAX: Final = 24 * 3600.0
"""Nobody waits for what takes longer; such a figure says that there is no rate worth the name."""


@dataclass(frozen=True, slots=True)
class Sample:
    at: float
    """Monotonic seconds; when it was so, which is earlier than when we heard of it."""
    bytes: int


Samples = tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class History:
    """By region: what its bucket had been copied, and what its machines had fetched from origin and peers."""

    copied: Mapping[RegionName, Samples] = field(default_factory=dict)
    fetched: Mapping[RegionName, Samples] = field(default_factory=dict)

    def heard(self, detail: DeploymentDetail, at: float) -> History:
        """With what ``detail``, heard at ``at``, says."""
        copied, fetched = dict(self.copied), dict(self.fetched)
        for region in detail.regions:
            if region.last_report_age_s is None:
                continue
            then = at - region.last_report_age_s
            copied[region.name] = sampled(copied.get(region.name, ()), Sample(then, region.copy_bytes))
            moved = region.bytes.origin + region.bytes.peer
            fetched[region.name] = sampled(fetched.get(region.name, ()), Sample(then, moved))
        return History(copied, fetched)


def sampled(samples: Samples, new: Sample) -> Samples:
    """With one more, those that no rate needs any more left out."""
    if samples and new.bytes < samples[-1].bytes:
        return (new,)  # it counts anew
    if samples and new.at - samples[-1].at < APART_S_MIN:
        if new.bytes == samples[-1].bytes or len(samples) == 1:
            return samples
        samples = samples[:-1]
        if new.at - samples[-1].at < APART_S_MIN:
            return samples
    recent = tuple(sample for sample in samples if sample.at >= new.at - WINDOW_S)
    return (*(recent or samples[-1:]), new)


def rate(samples: Samples, now: float) -> float:
    """Bytes a second; 0 where nothing moves or nothing is known."""
    if len(samples) < 2 or now - samples[-1].at > STALE_S:
        return 0.0
    span_s = samples[-1].at - samples[0].at
    moved = samples[-1].bytes - samples[0].bytes
    return max(0.0, moved / span_s) if span_s >= SPAN_S_MIN else 0.0


def left_s(remaining: int, bytes_per_s: float) -> float | None:
    """Seconds until ``remaining`` bytes are there; ``None``: nobody can say."""
    if remaining <= 0 or bytes_per_s <= 0 or remaining > LEFT_S_MAX * bytes_per_s:
        return None
    return remaining / bytes_per_s
