"""How attempts end: each by the token that holds the build, many of them in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.builds.lease_rules import QueueLimits, Verdict, given_up
from fleetcast.model.build import BuildStatus
from fleetcast.model.errors import Conflict, NotFound, Stale
from fleetcast.model.event import EventKind
from fleetcast.model.ids import BuildId, Token
from fleetcast.model.retention import Collection
from fleetcast.schema.columns import AnyRow, AnyRows
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import artifacts, jobs
from fleetcast.stores.database import now_ms
from fleetcast.stores.notices import notify

QUEUED_CHANNEL: Final = "fleetcast_queued"
"""Of the notices that a build may be claimed."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What an attempt says of itself."""

    build: BuildId
    token: Token
    succeeded: bool
    reason: str = ""
    hand_back: bool = False
    """It did not succeed, and that is not the build's fault."""
    blob: str = ""
    """Key of the content in the main store, of one that succeeded."""
    artifact: Mapping[str, Any] | None = None
    """The row of ``artifacts`` to add with it; ``None``: the caller's transaction adds it."""


_THESE: Final[AnyRows] = (
    select(jobs, now_ms().label("now")).where(jobs.c.id.in_(bindparam("builds", expanding=True))).order_by(jobs.c.id)
)
_LOCKED: Final = _THESE.with_for_update()
_LOCKED_UNLESS_ELSEWHERE: Final = _THESE.with_for_update(skip_locked=True)
_CHANGED: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"))
    .values(
        status=bindparam("to_status"),
        reason=bindparam("to_reason"),
        token=bindparam("to_token"),
        worker=bindparam("to_worker"),
        blob=bindparam("to_blob"),
        queued_at=bindparam("to_queued_at"),
        claimed_at=bindparam("to_claimed_at"),
        not_before=bindparam("to_not_before"),
        finished_at=bindparam("to_finished_at"),
    )
)


async def end_all(tx: AsyncConnection, endings: Sequence[Ending], limits: QueueLimits) -> list[Verdict | Exception]:
    """What became of each build; an error for a caller who does not hold it. Repeating what ended a build is answered alike.

    ``tx`` has :data:`~fleetcast.schema.job_locks.JOBS_BY_ID`, or is a serialised one that locked no build before.
    """
    rows = {row.id: row for row in await locked_jobs(tx, sorted({one.build for one in endings}))}
    lost = await _lost_blobs(tx, endings)
    changes: dict[BuildId, tuple[AnyRow, Verdict, Ending]] = {}
    answers: list[Verdict | Exception] = []
    for one in endings:
        answer = _answer(one, rows.get(one.build), changes.get(one.build), limits)
        if isinstance(answer, Verdict) and one.blob in lost:
            answer = Conflict("blobs_collected", f"{one.blob} is being collected: complete the uploads of build {one.build}")
        elif isinstance(answer, Verdict) and one.build not in changes and rows[one.build].status == BuildStatus.RUNNING:
            changes[one.build] = (rows[one.build], answer, one)
        answers.append(answer)
    made = [{**one.artifact, "created_at": row.now} for row, _, one in changes.values() if one.artifact is not None]
    if made:
        await tx.execute(insert(artifacts), made)
    await change_all(tx, [(row, verdict, one.blob) for row, verdict, one in changes.values()])
    return answers


async def _lost_blobs(tx: AsyncConnection, endings: Sequence[Ending]) -> set[str]:
    """Blobs of earlier artifacts that are named again and not kept any more. Those that are, are kept until ``tx`` ends."""
    named = {one.blob for one in endings if one.artifact is not None and not one.blob.startswith(f"builds/{one.build}/")}
    if not named:
        return set()
    digests = {one.artifact["digest"] for one in endings if one.artifact is not None and one.blob in named}
    these = artifacts.c.digest.in_(digests), artifacts.c.content_blob.in_(named), artifacts.c.collection == Collection.KEPT
    kept = select(artifacts.c.content_blob).where(*these).order_by(artifacts.c.id).with_for_update()
    return named - set((await tx.execute(kept)).scalars())


async def change_all(tx: AsyncConnection, changes: Sequence[tuple[AnyRow, Verdict, str]], *, void: bool = False) -> None:
    """Carry out verdicts on rows of :func:`locked_jobs`, each with the content's key. ``void``: their tokens end with them."""
    if not changes:
        return
    await tx.execute(_CHANGED, [_values(row, verdict, blob, void) for row, verdict, blob in changes])
    if any(verdict.status is BuildStatus.QUEUED for _, verdict, _ in changes):
        await notify(tx, QUEUED_CHANNEL)
    for row, verdict, _ in changes:
        kind = EventKind.BUILD_REQUEUED if verdict.status is BuildStatus.QUEUED else EventKind.BUILD_ENDED
        record_event(tx, kind, row.id, service=row.service, state=verdict.status, text=verdict.reason)


async def locked_jobs(tx: AsyncConnection, builds: Sequence[BuildId], *, skip_locked: bool = False) -> Sequence[AnyRow]:
    """Rows of ``jobs`` with ``now``, as they are until the transaction ends."""
    return (await tx.execute(_LOCKED_UNLESS_ELSEWHERE if skip_locked else _LOCKED, {"builds": builds})).all()


def not_held(build: BuildId, row: AnyRow | None) -> Stale | NotFound:
    """What somebody is told who does not hold a build; ``row``: of ``jobs``, if there is one."""
    if row is None:
        return NotFound("unknown_build", f"there is no build {build}")
    return Stale("stale_token", f"build {build} is {row.status} (attempt {row.attempt}) and not held by this token: stop it")


def _answer(
    one: Ending, row: AnyRow | None, changed: tuple[AnyRow, Verdict, Ending] | None, limits: QueueLimits
) -> Verdict | Exception:
    if row is None or row.token != one.token:
        return not_held(one.build, row)
    if changed is not None:  # twice in one transaction: the first counts
        _, verdict, first = changed
        same = (first.succeeded, first.blob) == (one.succeeded, one.blob) and verdict.status is not BuildStatus.QUEUED
        return verdict if same else not_held(one.build, row)
    # Equal files may have been found elsewhere meanwhile: what the first commit named counts.
    if row.status == BuildStatus.SUCCEEDED and one.succeeded and (row.blob == one.blob or one.artifact is not None):
        return Verdict(BuildStatus.SUCCEEDED, "")
    if row.status == BuildStatus.FAILED and not one.succeeded:
        return Verdict(BuildStatus.FAILED, row.reason)
    if row.status != BuildStatus.RUNNING:
        return not_held(one.build, row)
    if one.succeeded:
        return Verdict(BuildStatus.SUCCEEDED, "")
    return given_up(row.attempt, limits, one.reason) if one.hand_back else Verdict(BuildStatus.FAILED, one.reason)


def _values(row: AnyRow, verdict: Verdict, blob: str, void: bool) -> dict[str, Any]:
    requeued = verdict.status is BuildStatus.QUEUED
    return {
        "job": row.id,
        "to_status": verdict.status,
        "to_reason": verdict.reason,
        "to_token": None if requeued or void else row.token,
        "to_worker": "" if requeued else row.worker,
        "to_blob": blob,
        "to_queued_at": row.now if requeued else row.queued_at,
        "to_claimed_at": None if requeued else row.claimed_at,
        "to_not_before": row.now + int(verdict.after_s * 1000) if requeued and verdict.after_s else None,
        "to_finished_at": None if requeued else row.now,
    }
