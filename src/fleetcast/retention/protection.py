"""Which releases nobody may collect, and why (pure). Law 5's part of it is that of machines as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import Digest, ServiceName
from fleetcast.model.kept_releases import kept_releases


@dataclass(frozen=True, slots=True)
class Standing:
    """What a service's machines run in one environment, and ran. The newest deployment comes first."""

    service: ServiceName
    environment: str
    target: ReleaseRef
    baseline: ReleaseRef | None
    previous: ReleaseRef | None
    """Of the last deployment that reached machines with another release than ``target``."""
    succeeded: tuple[ReleaseRef, ...]
    """Of deployments that SUCCEEDED, those that were rolled back included: machines have them."""
    not_rolled_back: tuple[ReleaseRef, ...]
    """Of those the ones to which a rollback goes back."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An artifact that somebody wants: a person who pinned it, or an unfinished deployment."""

    digest: Digest
    why: str


def protections(standings: Iterable[Standing], wanted: Iterable[Wanted]) -> Mapping[Digest, str]:
    """Why each protected artifact is: the first reason there is."""
    found: dict[Digest, str] = {}
    for each in wanted:
        found.setdefault(each.digest, each.why)
    for standing in standings:
        where = f"{standing.service} in {standing.environment}"
        named = (
            (standing.target, f"it is the goal of {where}"),
            (standing.baseline, f"it is the baseline of {where}"),
            (standing.previous, f"it is the release before the goal of {where}"),
        )
        for release, why in named:
            if release is not None:
                found.setdefault(release.digest, why)
        before = [release for release, _ in named]
        for history in (standing.not_rolled_back, standing.succeeded):
            for release in kept_releases(before, history):
                found.setdefault(release.digest, f"it is one of the last that succeeded for {where}")
    return found
