"""Which of a service's releases stay, on its machines, in the regions' buckets and in the main store alike (law 5)."""

from __future__ import annotations

from collections.abc import Iterable

from fleetcast.model.goal import ReleaseRef
from fleetcast.model.limits import RELEASES_SUCCEEDED_KEPT


def kept_releases(named: Iterable[ReleaseRef | None], succeeded: Iterable[ReleaseRef]) -> tuple[ReleaseRef, ...]:
    """What is ``named`` (by the goal, as running, as the one before), each once, and beside these the last
    ``RELEASES_SUCCEEDED_KEPT`` whose deployments ``succeeded``, of which the newest comes first."""
    keep = list(dict.fromkeys(release for release in named if release is not None))
    others = [release for release in dict.fromkeys(succeeded) if release not in keep]
    return (*keep, *others[:RELEASES_SUCCEEDED_KEPT])
