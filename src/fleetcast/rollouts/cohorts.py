"""Whom a wave lets in, as thresholds over the inventory (law 4, pure).

Each machine has a fixed place in a deployment's order, its activation hash. A wave's threshold is the k-th smallest hash of the
machines that it means and that report, k being at least 1, and never below what the same selector had before. The cohorts of
a goal are ordered by threshold, highest first: so the first that matches a machine is the one that lets most in, a machine is
inside when any wave so far has reached it, and whatever is added or raised, nobody falls out again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fleetcast.model.goal import EVERYONE, NOBODY, Cohort, threshold_for
from fleetcast.model.ids import RegionName
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.plan import Plan, Wave


@dataclass(frozen=True, slots=True)
class Alike:
    """Machines of a deployment that no selector tells apart, each by its activation hash, in order."""

    like: Machine
    """One of them, but for its id."""
    reporting: Sequence[int]
    silent: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.reporting) + len(self.silent)


@dataclass(frozen=True, slots=True)
class Opening:
    """The next wave, as it is to be written."""

    number: int
    """Its index in the plan."""
    cohorts: tuple[Cohort, ...]
    expected: Mapping[RegionName, int]
    """Machines inside from then on, by the inventory."""
    silent: Mapping[RegionName, int]
    """Those of them that say nothing already: no fault of what comes."""
    skipped: tuple[int, ...]
    """Indexes of the waves before it that mean no machine."""


def open_next(plan: Plan, number: int, cohorts: tuple[Cohort, ...], fleet: Sequence[Alike]) -> Opening:
    """The wave after the one at ``number`` (-1: the first), and who is inside then.

    A wave that means no machine is skipped, unless it is the last, or what follows needs approval: that is asked for wave by
    wave. One whose machines are all silent is not: it waits for
    them, and its time limit ends that.
    """
    last = len(plan.waves) - 1
    following = next(
        n for n in range(number + 1, last + 1) if n == last or plan.waves[n + 1].approvals or _meant(plan.waves[n], fleet)
    )
    opened = let_in(cohorts, plan.waves[following], fleet)
    mute = [replace(alike, reporting=()) for alike in fleet]
    return Opening(following, opened, inside(opened, fleet), inside(opened, mute), tuple(range(number + 1, following)))


def let_in(cohorts: tuple[Cohort, ...], wave: Wave, fleet: Sequence[Alike]) -> tuple[Cohort, ...]:
    """``cohorts`` with ``wave`` among them; as they are where it means no machine."""
    if wave.everyone:
        return grown(cohorts, (Cohort(wave.selector, EVERYONE),))
    meant = _meant(wave, fleet)
    hashes = sorted(_each(alike.reporting for alike in meant)) or sorted(_each(alike.silent for alike in meant))
    if not hashes:
        return cohorts
    return grown(cohorts, (Cohort(wave.selector, hashes[wave.size(len(hashes)) - 1]),))


def shut_out(regions: Iterable[RegionName]) -> tuple[Cohort, ...]:
    """The cohorts that keep a region's machines out, whatever waves let in."""
    return tuple(Cohort(Selector(regions=(region,)), NOBODY) for region in regions)


def grown(old: tuple[Cohort, ...], added: tuple[Cohort, ...]) -> tuple[Cohort, ...]:
    """Both, one for each selector with the higher of its thresholds; the highest first, behind those that shut out."""
    out = tuple(cohort for cohort in old if cohort.threshold == NOBODY)
    found: list[Cohort] = []
    for cohort in (*old[len(out) :], *added):
        same = next((n for n, other in enumerate(found) if other.selector == cohort.selector), None)
        if same is None:
            found.append(cohort)
        else:
            found[same] = replace(cohort, threshold=max(cohort.threshold, found[same].threshold))
    return (*out, *sorted(found, key=lambda cohort: -cohort.threshold))


def inside(cohorts: tuple[Cohort, ...], fleet: Iterable[Alike]) -> dict[RegionName, int]:
    """How many machines of each region are let in, silent ones included; regions without any are left out."""
    counts: dict[RegionName, int] = {}
    for alike in fleet:
        threshold = threshold_for(cohorts, alike.like)
        count = bisect_right(alike.reporting, threshold) + bisect_right(alike.silent, threshold)
        if count:
            counts[alike.like.region] = counts.get(alike.like.region, 0) + count
    return dict(sorted(counts.items()))


def _meant(wave: Wave, fleet: Iterable[Alike]) -> list[Alike]:
    return [alike for alike in fleet if len(alike) and wave.selector.matches(alike.like)]


def _each(groups: Iterable[Sequence[int]]) -> Iterator[int]:
    for group in groups:
        yield from group
