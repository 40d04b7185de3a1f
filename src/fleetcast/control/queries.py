"""Read models: what people are shown."""

from __future__ import annotations

import hashlib
from collections import Counter

from sqlalchemy import select

from fleetcast import __version__
from fleetcast.control.artifact_queries import unknown_artifact
from fleetcast.control.parts import Parts
from fleetcast.control.pictures import picture_of
from fleetcast.http import messages
from fleetcast.model.deployment import Deployment
from fleetcast.model.ids import ArtifactName, BuildId, DeploymentId, Digest, ServiceName
from fleetcast.model.messages.artifacts import ArtifactDetail
from fleetcast.model.messages.deployments import DeploymentDetail
from fleetcast.model.messages.fleet import FleetStatus, RegionStatus
from fleetcast.model.replication import Replica
from fleetcast.replication.status import list_replicas
from fleetcast.rollouts.deployments import get_deployment, list_deployments, newest_of_each
from fleetcast.rollouts.inventory import known_machines, known_regions
from fleetcast.rollouts.services import known_service, list_services
from fleetcast.schema.tables import artifacts, releases


async def fleet_status(parts: Parts) -> FleetStatus:
    """Everything at a glance; the newest deployment of each service."""
    async with parts.database.reading() as reading:
        services = await list_services(reading)
        machines = await known_machines(reading)
        regions = await known_regions(reading)
        newest = await newest_of_each(reading)
    count = Counter(machine.region for machine in machines)
    return FleetStatus(
        version=__version__,
        services=services,
        regions=tuple(
            RegionStatus(region.name, region.drained, region.last_report_age_s, count[region.name]) for region in regions
        ),
        machines=machines,
        deployments=newest,
    )


async def deployment_detail(parts: Parts, deployment: DeploymentId) -> DeploymentDetail:
    """Raises :class:`NotFound`."""
    async with parts.database.reading() as reading:
        shown = await get_deployment(reading, deployment)
    build = await parts.queue.get(shown.build) if shown.build is not None else None
    replicas = await _replicas(parts, shown.release.digest) if shown.release is not None else ()
    picture = await picture_of(parts, shown, build, replicas)
    version = hashlib.blake2s(messages.encode((shown, build, replicas, picture.without_ages)), digest_size=12).hexdigest()
    return DeploymentDetail(shown, build, replicas, version, picture.regions, picture.builds_ahead, picture.age_s)


async def deployments(parts: Parts, service: ServiceName, limit: int) -> tuple[Deployment, ...]:
    """The newest ``limit``, newest first; of a removed service too. Raises :class:`NotFound` for an unknown one."""
    async with parts.database.reading() as reading:
        await known_service(reading, service)
        return await list_deployments(reading, service, at_most=limit)


async def artifact_detail(parts: Parts, name: ArtifactName) -> ArtifactDetail:
    """Raises :class:`NotFound`."""
    rows = select(artifacts, releases.c.deployable).join(releases, releases.c.digest == artifacts.c.digest, isouter=True)
    async with parts.database.reading() as reading:
        row = (await reading.execute(rows.where(artifacts.c.name == name))).one_or_none()
    if row is None:
        raise unknown_artifact(name)
    return ArtifactDetail(
        name=name,
        envelope=row.envelope,
        replicas=await _replicas(parts, Digest(row.digest)),
        deployable=bool(row.deployable),
        build=BuildId(row.build_id),
    )


async def _replicas(parts: Parts, digest: Digest) -> tuple[Replica, ...]:
    async with parts.replication_database.reading() as reading:
        return await list_replicas(reading, digest)
