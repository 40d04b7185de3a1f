"""Which copies to look at, and what was seen means (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fleetcast.model.ids import Digest, RegionName
from fleetcast.model.limits import REASON_NAMES_MAX
from fleetcast.model.replication import ReplicaStatus


@dataclass(frozen=True, slots=True)
class Wanted:
    """An artifact that every bucket should hold. Sizes in bytes."""

    digest: Digest
    manifest_size: int
    content_size: int
    published_at_ms: int = 0
    """Since when. Its copies may have been collected before that: what was seen of them says nothing now."""


@dataclass(frozen=True, slots=True)
class Known:
    """What was written down about one bucket's copy."""

    status: ReplicaStatus
    reason: str
    checked_at_ms: int
    published_at_ms: int | None = None
    """Of the artifact, when this was written down; ``None``: a control process of the version before did."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a bucket answered: sizes in bytes, ``None`` where there is no such blob; or why it did not answer."""

    manifest_size: int | None = None
    content_size: int | None = None
    unreachable: str = ""
    being_deleted: bool = False
    """By the region, since the artifact was collected: nobody looked, and what is there does not count."""


@dataclass(frozen=True, slots=True)
class Finding:
    status: ReplicaStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A region's own account of why its attempts at a copy fail."""

    error: str
    given_up: bool
    """For as long as its settings allow."""


Copy = tuple[RegionName, Digest]
BEING_COPIED: Final = "being copied"
"""The reason of a PENDING copy with which nothing is wrong."""


def of_today(known: Mapping[Copy, Known], wanted: Sequence[Wanted]) -> Mapping[Copy, Known]:
    """What is known of copies as they are wanted now. Where nobody said of which publication it is, it is looked at again."""
    published = {artifact.digest: artifact.published_at_ms for artifact in wanted}
    return {
        copy: one if one.published_at_ms is not None else replace(one, checked_at_ms=0)
        for copy, one in known.items()
        if one.published_at_ms is None or one.published_at_ms == published.get(copy[1])
    }


def due(
    wanted: Sequence[Wanted], buckets: Sequence[RegionName], known: Mapping[Copy, Known], now_ms: int, recheck_s: float
) -> tuple[tuple[RegionName, Wanted], ...]:
    """Copies to look at now: all that are not COMPLETE, and those that are and were not looked at for ``recheck_s``, or were
    by a clock that has been set back since."""
    return tuple(
        (bucket, artifact)
        for artifact in wanted
        for bucket in buckets
        if (before := known.get((bucket, artifact.digest))) is None
        or before.status is not ReplicaStatus.COMPLETE
        or not 0 <= now_ms - before.checked_at_ms < recheck_s * 1000
    )


def judge(artifact: Wanted, seen: Seen, before: Known | None, trouble: Trouble | None) -> Finding:
    """What to write down about a copy. An attempt that failed is followed by another: only one given up has FAILED.

    Only the bucket's answer makes a copy COMPLETE, and only an answer takes that back: a bucket that cannot be reached
    leaves it as it was.
    """
    if seen.being_deleted:
        return Finding(ReplicaStatus.PENDING, "the copy that was collected is deleted first")
    if seen.unreachable:
        if before is not None and before.status is ReplicaStatus.COMPLETE:
            return Finding(ReplicaStatus.COMPLETE, before.reason)
        return Finding(ReplicaStatus.PENDING, f"its bucket does not answer: {seen.unreachable}")
    sizes = (seen.manifest_size, seen.content_size)
    if sizes == (artifact.manifest_size, artifact.content_size):
        return Finding(ReplicaStatus.COMPLETE, "")
    if None not in sizes:
        wrong = f"it holds {sizes[0]} + {sizes[1]} bytes instead of {artifact.manifest_size} + {artifact.content_size}"
        return Finding(ReplicaStatus.FAILED, wrong)
    if trouble is not None:
        if trouble.given_up:
            return Finding(ReplicaStatus.FAILED, trouble.error)
        return Finding(ReplicaStatus.PENDING, f"the last attempt failed: {trouble.error}")
    if before is not None and before.status is ReplicaStatus.COMPLETE:
        return Finding(ReplicaStatus.PENDING, "it vanished from the bucket")
    return Finding(ReplicaStatus.PENDING, BEING_COPIED)


def lacking(digests: Sequence[Digest], bucket: RegionName, known: Mapping[Copy, Known]) -> int:
    """How many of these artifacts a bucket has not."""
    copies = (known.get((bucket, digest)) for digest in digests)
    return sum(copy is None or copy.status is not ReplicaStatus.COMPLETE for copy in copies)


def lacking_in(digest: Digest, buckets: Sequence[RegionName], known: Mapping[Copy, Known]) -> tuple[RegionName, ...]:
    """The buckets that do not have it."""
    return tuple(bucket for bucket in buckets if lacking([digest], bucket, known))


def waiting_for(digest: Digest, buckets: Sequence[RegionName], known: Mapping[Copy, Known]) -> str:
    """What keeps an artifact from being deployable, for people; empty: it is complete in every bucket of ``buckets``."""
    if not buckets:
        return "a region to join"
    missing: list[str] = []
    for bucket in buckets:
        copy = known.get((bucket, digest))
        if copy is None:
            missing.append(f"{bucket}: not looked at yet")
        elif copy.status is not ReplicaStatus.COMPLETE:
            missing.append(f"{bucket}: {copy.status}" + (f" ({copy.reason})" if copy.reason else ""))
    more = len(missing) - REASON_NAMES_MAX
    return "; ".join(missing[:REASON_NAMES_MAX]) + (f" and {more} more" if more > 0 else "")
