"""What a service's machines should run (law 4): one value per service and environment, rewritten once a wave.

Readers of a goal ask three questions of it: is this machine meant (:meth:`Goal.selects`), what should it *have* on disk
(always ``target``), and what should it *run* (:meth:`Goal.release_for`).
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Final

from fleetcast.model.generation import Generation
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, MachineId, ServiceName
from fleetcast.model.machine import Machine, Selector

EVERYONE: Final = 2**64 - 1
"""The threshold that no activation hash exceeds."""

NOBODY: Final = -1
"""The threshold that no activation hash is at or below: a cohort that shuts out. Such stand before all others."""


@dataclass(frozen=True, slots=True)
class ReleaseRef:
    """A release as goals and reports name it."""

    artifact: ArtifactName
    digest: Digest
    """SHA-256 of the manifest: equal digests are equal files."""
    root: Digest
    """SHA-256 of the signed root's envelope: also commit, recipe and builder. The key under which regions hand it out."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who may activate: of the machines that ``selector`` matches, those whose hash is at or below ``threshold``."""

    selector: Selector
    threshold: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How many machines of one service may be down at a time because of us. ``None``: as many as like."""

    max_unavailable: int | None = None
    """Per region, permits held at once for a deployment forward."""
    max_unavailable_rollback: int | None = None
    """The same for a rollback, which the two below do not hold up."""
    max_unavailable_zone: int | None = None
    """Of those, in each zone."""
    max_unavailable_rack: int | None = None
    """Of those, in each rack of a zone. A region of the version before keeps to the first two."""

    @property
    def of_places(self) -> bool:
        """Whether it matters where a machine is."""
        return (self.max_unavailable_zone, self.max_unavailable_rack) != (None, None)

    def stated(self) -> dict[str, int]:
        """The limits there are, by name."""
        return {name: most for name, most in asdict(self).items() if most is not None}


@dataclass(frozen=True, slots=True)
class Goal:
    """The value under one service's key. ``cohorts`` is ordered: the first that matches a machine decides."""

    service: ServiceName
    environment: str
    generation: Generation
    deployment: DeploymentId
    rollback: bool
    selector: Selector
    target: ReleaseRef
    """Fetched by every selected machine from the first wave on."""
    baseline: ReleaseRef | None
    """The last release whose deployment succeeded (a rollback's is its target): what an empty machine runs meanwhile."""
    cohorts: tuple[Cohort, ...]
    limits: Limits
    expires_at_ms: int
    """UTC. After this the goal starts and stops nothing."""
    removed: bool = False
    """A tombstone: no machine runs the service any more. The rest says what was wanted before, which is what a program that
    does not know tombstones goes on with."""
    pinned: tuple[Digest, ...] = ()
    """Releases of the service that people want kept, as they were when this was written: a machine that has one keeps it."""
    again: Generation | None = None
    """Of the last goal of this deployment with which somebody had the machines try again that had failed it. Agents of an
    older version do not: they stay as they are."""

    def selects(self, machine: Machine) -> bool:
        return self.selector.matches(machine)

    def expired(self, now_ms: int) -> bool:
        return now_ms >= self.expires_at_ms

    def activates(self, machine: Machine) -> bool:
        """Whether the waves written so far have reached this machine. No cohort matches: they have not."""
        threshold = threshold_for(self.cohorts, machine)
        return threshold >= EVERYONE or threshold >= activation_hash(self.deployment, machine.id)

    def complete_for(self, machine: Machine) -> bool:
        """Whether the cohort that decides for this machine has let everybody in."""
        return threshold_for(self.cohorts, machine) >= EVERYONE

    def release_for(self, machine: Machine, running: ReleaseRef | None) -> ReleaseRef | None:
        """What ``machine`` should run, given what it runs. ``None``: nothing yet.

        Outside its wave a machine keeps what it runs. An empty one takes the baseline until its cohort is complete,
        whatever its hash; without a baseline, the target by its wave.
        """
        if running is None and self.baseline is not None and not self.complete_for(machine):
            return self.baseline
        return self.target if self.activates(machine) else running


def threshold_for(cohorts: tuple[Cohort, ...], machine: Machine) -> int:
    """Of the cohort that decides for a machine, the first that matches it; below every hash where none does."""
    return next((cohort.threshold for cohort in cohorts if cohort.selector.matches(machine)), -1)


def activation_hash(deployment: DeploymentId, machine: MachineId) -> int:
    """A machine's fixed place in a deployment's order: the first 8 bytes, big-endian, of
    SHA-256(deployment, NUL, machine), both UTF-8. Uniform in ``[0, 2**64)``.
    """
    return int.from_bytes(hashlib.sha256(f"{deployment}\0{machine}".encode()).digest()[:8], "big")
