"""Which build is claimed next, and what each other one waits for (pure). ``claiming.py`` says the same in SQL.

- **Oldest first**, by (place, id). A build's place is the time of its order, and stays when it is queued again.
- **Two lanes.** An urgent build's place is ``BUILD_URGENT_AHEAD_S`` earlier: it passes every ordinary build that has not
  waited longer than that. Urgent builds keep their order among themselves, and no ordinary one starves: only what is ordered
  within that time after it can pass it.
- **A bound per service** on what runs at a time. A service at its bound is passed over; an urgent build may be one more.
- **Not before.** A build that an attempt lost through no fault of its own waits a while; others go on meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fleetcast.model.build import BuildStatus, Lane
from fleetcast.model.ids import BuildId, ServiceName
from fleetcast.model.limits import BUILD_RETRY_S_MAX, BUILD_URGENT_AHEAD_S


@dataclass(frozen=True, slots=True)
class Job:
    """What the rules look at of a live row of ``jobs``. Times in UTC milliseconds."""

    id: BuildId
    service: ServiceName
    status: BuildStatus
    lane: Lane
    created_at_ms: int
    not_before_ms: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """In line: the smallest is claimed first."""
        return place_ms(self.created_at_ms, self.lane), self.id


class WaitsFor(StrEnum):
    WORKER = "worker"
    """It is claimed as soon as enough workers ask."""
    SERVICE = "service"
    """Its service has as many builds running, or before it, as it may."""
    BACKOFF = "backoff"
    """An attempt was lost; the next comes after a while."""


@dataclass(frozen=True, slots=True)
class Waiting:
    job: Job
    position: int
    """In line, from 1, among all that wait."""
    waits_for: WaitsFor


def place_ms(created_at_ms: int, lane: Lane) -> int:
    """Where a build ordered at that time stands in line."""
    return created_at_ms - (BUILD_URGENT_AHEAD_S * 1000 if lane is Lane.URGENT else 0)


def retry_s(lost_attempts: int, first_s: float) -> float:
    """How long a build waits whose attempts were lost, ``lost_attempts`` by now: not at all the first time, since the worker it
    had says nothing about the next; then ``first_s``, doubling, so that what fails everywhere is not tried all the time."""
    return 0.0 if lost_attempts <= 1 else min(first_s * 2.0 ** min(lost_attempts - 2, 32), BUILD_RETRY_S_MAX)


def line(jobs: Iterable[Job], now_ms: int, service_running_max: int) -> list[Waiting]:
    """All that wait, in line, each with what it waits for: those for a worker are claimed in this order."""
    known = list(jobs)
    taken = Counter(job.service for job in known if job.status is BuildStatus.RUNNING)
    waiting: list[Waiting] = []
    queued = sorted((job for job in known if job.status is BuildStatus.QUEUED), key=lambda job: job.place)
    for position, job in enumerate(queued, 1):
        if job.not_before_ms > now_ms:
            waits_for = WaitsFor.BACKOFF
        elif taken[job.service] >= service_running_max + (job.lane is Lane.URGENT):
            waits_for = WaitsFor.SERVICE
        else:
            waits_for = WaitsFor.WORKER
            taken[job.service] += 1
        waiting.append(Waiting(job, position, waits_for))
    return waiting


def claimed_next(jobs: Iterable[Job], now_ms: int, service_running_max: int, workers: int = 1) -> list[BuildId]:
    """What so many workers get that ask at once."""
    ready = [one.job.id for one in line(jobs, now_ms, service_running_max) if one.waits_for is WaitsFor.WORKER]
    return ready[:workers]
