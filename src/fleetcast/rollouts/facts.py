"""What SQL knows about one deployment, in the shape the gate decides on."""

from __future__ import annotations

from collections.abc import Set

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.build import BuildStatus
from fleetcast.model.deployment import DeploymentKind, DeploymentState
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import ArtifactName, BuildId, DeploymentId, Digest, RegionName, ServiceName
from fleetcast.model.limits import REASON_NAMES_MAX
from fleetcast.model.plan import Policy, WhenBusy
from fleetcast.rollouts.check_asks import check_facts
from fleetcast.rollouts.counting import Counting
from fleetcast.rollouts.deployments import unfinished_in
from fleetcast.rollouts.gate import BuildFacts, Facts
from fleetcast.rollouts.hold_facts import hold_facts
from fleetcast.rollouts.inventory import silent, silent_regions
from fleetcast.rollouts.progress import by_region
from fleetcast.rollouts.region_rollbacks import standing_since
from fleetcast.rollouts.waves import wave_facts
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.tables import artifacts, deployments, goals, jobs, releases


async def gather(reading: AsyncConnection, row: AnyRow, counting: Counting) -> Facts:
    """Facts about the deployment of a row of :func:`~fleetcast.rollouts.deployments.deployment_rows`."""
    state = DeploymentState(row.state)
    written = select(goals.c.goal_sequence).where(goals.c.service == row.service, goals.c.environment == row.environment)
    release = None
    if row.artifact_digest is not None:
        looked_at = select(releases).where(releases.c.digest == row.artifact_digest)
        release = (await reading.execute(looked_at)).one_or_none()
    skipped = frozenset[RegionName](row.skipped or ())
    distributing = state is DeploymentState.DISTRIBUTING
    of = DeploymentId(row.id), row.selector, skipped
    regions = await by_region(reading, *of, counting) if distributing else ()
    facts = tuple(region.facts for region in regions)
    quiet = distributing and row.plan is None and any(region.silent for region in facts)
    return Facts(
        state=state,
        sequence=row.sequence,
        goal_sequence=(await reading.execute(written)).scalar_one(),
        build=await _build(reading, row),
        built=row.artifact_id is not None or await built_artifact(reading, row) is not None,
        built_at_ms=row.built_at,
        deployable=release is not None and (release.deployable or _only_skipped_lack(release, skipped)),
        skipped=tuple(sorted(skipped)),
        going_back=row.kind == DeploymentKind.ROLLBACK and release is not None and release.completed_at is not None,
        rollback=row.kind == DeploymentKind.ROLLBACK,
        policy=Policy() if row.policy is None else row.policy,
        replicas_waiting_for="" if release is None else release.waiting_for,
        goal_at_ms=row.goal_at,
        regions=facts,
        silent=await silent(reading, row.selector, REASON_NAMES_MAX) if quiet else (),
        wave=wave_facts(row, facts, await silent_regions(reading) - skipped) if distributing and row.plan is not None else None,
        paused_at_ms=row.paused_at,
        ahead=await _ahead(reading, row) if state is DeploymentState.REPLICATING else "",
        holds=await hold_facts(reading, row),
        gone_back=await standing_since(reading, row.service, row.environment, row.created_at),
        checks=await check_facts(reading, row) if distributing else (),
    )


def _only_skipped_lack(release: AnyRow, skipped: Set[RegionName]) -> bool:
    return bool(release.lacking) and skipped >= frozenset(release.lacking)


async def _ahead(reading: AsyncConnection, row: AnyRow) -> str:
    """A rollback waits for nobody: its policy is the default one."""
    if row.policy is None or row.policy.when_busy is not WhenBusy.QUEUE:
        return ""
    ahead = await unfinished_in(reading, row.service, row.environment, before=row.sequence, at_most=1)
    return ahead[0].words if ahead else ""


async def built_artifact(reading: AsyncConnection, row: AnyRow) -> AnyRow | None:
    """``id`` of the artifact that the deployment's build made, and when the build ``finished_at``."""
    made = (
        select(artifacts.c.id, jobs.c.finished_at)
        .join_from(artifacts, jobs, artifacts.c.build_id == jobs.c.id)
        .where(artifacts.c.build_id == row.build_id)
    )
    return None if row.build_id is None else (await reading.execute(made)).one_or_none()


async def completed_at(reading: AsyncConnection, digest: Digest) -> int | None:
    """When the release became complete in every bucket."""
    return (await reading.execute(select(releases.c.completed_at).where(releases.c.digest == digest))).scalar_one_or_none()


async def baseline(reading: AsyncConnection, service: ServiceName, environment: str) -> ReleaseRef | None:
    """The last release whose deployment SUCCEEDED and was not rolled back."""
    last = (
        select(artifacts.c.name, artifacts.c.digest, artifacts.c.root)
        .join_from(deployments, artifacts, deployments.c.artifact_id == artifacts.c.id)
        .where(
            deployments.c.service == service,
            deployments.c.environment == environment,
            deployments.c.state == DeploymentState.SUCCEEDED,
            deployments.c.rolled_back_by.is_(None),
        )
        .order_by(deployments.c.sequence.desc())
        .limit(1)
    )
    row = (await reading.execute(last)).one_or_none()
    return None if row is None else ReleaseRef(ArtifactName(row.name), Digest(row.digest), Digest(row.root))


async def _build(reading: AsyncConnection, row: AnyRow) -> BuildFacts | None:
    if row.build_id is None:
        return None
    job = (await reading.execute(select(jobs).where(jobs.c.id == row.build_id))).one()
    return BuildFacts(BuildId(job.id), BuildStatus(job.status), job.reason, job.attempt, job.worker)
