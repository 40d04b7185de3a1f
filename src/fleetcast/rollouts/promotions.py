"""Taking what runs in one environment to another, and what an environment requires of what comes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Refused, Unprocessable
from fleetcast.model.ids import CommitSha, Digest, ServiceName
from fleetcast.model.messages.environments import PromoteRequest, Promotion
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.rollouts.deployments import release_of, shown_deployment
from fleetcast.rollouts.environments import running_in, service_in
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.tables import artifacts, deployments


@dataclass(frozen=True, slots=True)
class Promoted:
    """What is to be deployed where."""

    target: ServiceSpec
    """The service as it is in the environment that it comes to."""
    row: AnyRow
    """Of the deployment whose release it is."""


async def to_promote(tx: AsyncConnection, request: PromoteRequest) -> Promoted:
    """What runs in the one environment, for the other.

    Raises:
        NotFound: no such service or environment.
        Unprocessable: both are the same.
        Refused: the one has nothing that it runs throughout, or something else than was expected.
    """
    if request.source == request.target:
        raise Unprocessable("same_environment", f"{request.source} is what it would be promoted from: name two environments")
    source = await service_in(tx, request.service, request.source)
    target = await service_in(tx, request.service, request.target)
    row = await running_in(tx, request.service, source.environment)
    name = f"{request.service} in {source.environment}"
    if row is None:
        raise Refused("nothing_deployed", f"{name} runs nothing yet: deploy there first")
    if row.state != DeploymentState.SUCCEEDED:
        advice = "deploy there, or roll back" if DeploymentState(row.state).ended else f"fleetcast watch {row.id}"
        raise Refused("source_unsettled", f"{name} is at deployment {row.id}, which is {row.state}: {advice}, then promote")
    if request.digest is not None and request.digest != row.artifact_digest:
        raise Refused(
            "source_moved_on", f"{name} runs {row.artifact_name} by now ({row.artifact_digest}): look again, then promote"
        )
    return Promoted(target, row)


async def preview(reading: AsyncConnection, service: ServiceName, source: str, target: str) -> Promotion:
    """What a promotion would do now. Raises as :func:`to_promote`."""
    found = await to_promote(reading, PromoteRequest(service, source, target))
    runs = await running_in(reading, service, found.target.environment)
    release = release_of(found.row)
    return Promotion(
        service=service,
        source=source,
        target=target,
        release=release,
        commit_sha=CommitSha(found.row.commit_sha),
        replaces=None if runs is None else await shown_deployment(reading, runs),
        there_already=runs is not None and runs.state == DeploymentState.SUCCEEDED and runs.artifact_root == release.root,
        refused=await missing(reading, found.target, release.digest),
        repository=found.target.repository,
    )


async def missing(reading: AsyncConnection, spec: ServiceSpec, digest: Digest | None) -> str:
    """What an environment requires of what comes, as far as that does not hold, in a line; empty: all of it does.

    ``digest``: of the artifact; ``None``: it is yet to be built.
    """
    if spec.requires is None:
        return ""
    succeeded = (
        select(deployments.c.id)
        .join(artifacts, deployments.c.artifact_id == artifacts.c.id)
        .where(
            deployments.c.service == spec.name,
            deployments.c.environment == spec.requires,
            deployments.c.state == DeploymentState.SUCCEEDED,
            deployments.c.rolled_back_by.is_(None),
            artifacts.c.digest == digest,
        )
        .limit(1)
    )
    if digest is not None and (await reading.execute(succeeded)).one_or_none() is not None:
        return ""
    return f"{spec.environment} of {spec.name} requires that it succeeded in {spec.requires} before, which it has not"


async def must_have_succeeded(tx: AsyncConnection, spec: ServiceSpec, digest: Digest | None, override: str) -> str:
    """What is to be recorded of why it may come: empty where it need not be asked.

    Raises:
        Refused: what the environment requires does not hold, and nobody says why it may come all the same.
    """
    why = await missing(tx, spec, digest)
    if not why:
        return ""
    if not override:
        first = f"fleetcast deploy {spec.name}@SHA --environment {spec.requires}"
        then = f"fleetcast release promote {spec.name} {spec.requires} {spec.environment}"
        raise Refused("not_promoted", f"{why}: {first}, then {then}; or say why it may, with --override REASON")
    return override
