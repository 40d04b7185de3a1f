"""What would be collected now, from which tier, and why what stays does (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleetcast.model.ids import ArtifactName
from fleetcast.retention.collection import Bounds, Held, Verdict, judge


@dataclass(frozen=True, slots=True)
class Stored:
    """An artifact that the main store has, as both tiers see it."""

    held: Held
    names: tuple[ArtifactName, ...]
    """Newest first; equal files have several."""
    published: bool
    """The regions are to have it."""


@dataclass(frozen=True, slots=True)
class Policy:
    main: Bounds
    regions: Bounds


@dataclass(frozen=True, slots=True)
class Planned:
    stored: Stored
    main: Verdict
    regions: Verdict | None
    """``None``: they have no copies that count."""

    @property
    def goes(self) -> bool:
        return self.main.collect or (self.regions is not None and self.regions.collect)


def plan(stored: Sequence[Stored], policy: Policy, now_ms: int) -> tuple[Planned, ...]:
    """A verdict on each artifact, what was used last first. What the regions keep stays in the main store too: a region that
    joins copies it from there."""
    copied = judge([each.held for each in stored if each.published], policy.regions, now_ms)
    regions = {verdict.held.digest: verdict for verdict in copied}
    main = judge([_in_main(each, regions.get(each.held.digest)) for each in stored], policy.main, now_ms)
    by_digest = {each.held.digest: each for each in stored}
    return tuple(Planned(by_digest[verdict.held.digest], verdict, regions.get(verdict.held.digest)) for verdict in main)


def _in_main(each: Stored, copied: Verdict | None) -> Held:
    if copied is None or copied.collect or each.held.protection:
        return each.held
    return replace(each.held, protection=f"the regions keep it: {copied.reason}")
