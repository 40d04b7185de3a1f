"""Read models: what people are shown."""

from __future__ import annotations

import hashlib

from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast import __version__
from fleetcast.control.artifact_queries import ARTIFACTS, artifact_of, unknown_artifact
from fleetcast.control.fleet_queries import silence_alarm, status_of
from fleetcast.control.parts import Parts
from fleetcast.control.pictures import picture_of
from fleetcast.control.statuses.outbox import untold
from fleetcast.control.webhooks.registry import undelivered
from fleetcast.http import messages
from fleetcast.http.cursors import Row, page, place
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, RegionName, ServiceName
from fleetcast.model.messages.artifacts import ArtifactDetail
from fleetcast.model.messages.deployments import DeploymentDetail, DeploymentPage
from fleetcast.model.messages.fleet import FleetStatus, MachinePage, RegionPage, RegionStatus
from fleetcast.model.messages.region_rollbacks import RegionRollbacks
from fleetcast.model.messages.services import ServicePage
from fleetcast.model.replication import Replica
from fleetcast.replication.status import list_replicas
from fleetcast.retention.totals import stored_totals
from fleetcast.rollouts.check_asks import check_pictures
from fleetcast.rollouts.deployments import Wanted, get_deployment, list_deployments, newest_of_each, place_of
from fleetcast.rollouts.inventory import count_machines, known_machines, known_region, known_regions
from fleetcast.rollouts.region_rollbacks import list_rollbacks
from fleetcast.rollouts.services import known_service, list_services
from fleetcast.rollouts.trunk_looks import failing
from fleetcast.rollouts.waves import wave_pictures
from fleetcast.schema.tables import artifacts


async def fleet_status(parts: Parts) -> FleetStatus:
    """Everything at a glance; the newest deployment of each service."""
    async with parts.database.reading() as reading:
        silent = filter(None, map(silence_alarm, await known_regions(reading)))
        return FleetStatus(
            version=__version__,
            services=await list_services(reading),
            regions=await _regions(reading),
            deployments=await newest_of_each(reading),
            alarms=(
                *((parts.controller.obstacle,) if parts.controller.obstacle else ()),
                *silent,
                *await failing(reading),
                *await untold(reading),
                *await undelivered(reading),
            ),
            stored=await stored_totals(reading),
            region_rollbacks=await list_rollbacks(reading, standing=True),
        )


async def region_page(parts: Parts, after: str, limit: int) -> RegionPage:
    """By name."""
    behind = place(after, str)
    async with parts.database.reading() as reading:
        regions = await _regions(reading)
    found = [region for region in regions if behind is None or region.name > behind]
    return RegionPage(*page(found, limit, lambda region: region.name))


async def region_rollbacks(parts: Parts, service: ServiceName | None) -> RegionRollbacks:
    """Newest first. Raises :class:`NotFound` for a service that never was."""
    async with parts.database.reading() as reading:
        if service is not None:
            await known_service(reading, service)
        return RegionRollbacks(await list_rollbacks(reading, service))


async def machine_page(parts: Parts, region: RegionName | None, after: str, limit: int) -> MachinePage:
    """By id. Raises :class:`NotFound` for an unknown region."""
    behind = place(after, str)
    async with parts.database.reading() as reading:
        if region is not None:
            await known_region(reading, region)
        found = await known_machines(reading, region, behind, at_most=limit + 1)
    return MachinePage(*page(found, limit, lambda machine: machine.id))


async def service_page(parts: Parts, after: str, limit: int) -> ServicePage:
    """By name."""
    behind = place(after, str)
    async with parts.database.reading() as reading:
        found = await list_services(reading, behind, at_most=limit + 1)
    return ServicePage(*page(found, limit, lambda service: service.name))


async def deployment_detail(parts: Parts, deployment: DeploymentId) -> DeploymentDetail:
    """Raises :class:`NotFound`."""
    async with parts.database.reading() as reading:
        shown = await get_deployment(reading, deployment)
        waves = await wave_pictures(reading, deployment)
        checks = await check_pictures(reading, deployment)
    build = await parts.queue.get(shown.build) if shown.build is not None else None
    replicas = await _replicas(parts, shown.release.digest) if shown.release is not None else ()
    picture = await picture_of(parts, shown, build, replicas)
    version = hashlib.blake2s(
        messages.encode((shown, build, replicas, picture.without_ages, checks)), digest_size=12
    ).hexdigest()
    return DeploymentDetail(
        shown, build, replicas, version, picture.regions, picture.builds_ahead, picture.age_s, waves, checks
    )


async def deployment_page(parts: Parts, wanted: Wanted, after: str, limit: int) -> DeploymentPage:
    """Newest first. Raises :class:`NotFound` for a service that never was; of a removed one there are some still."""
    behind = place(after, tuple[Row, Row, str])
    async with parts.database.reading() as reading:
        if wanted.service is not None:
            await known_service(reading, wanted.service)
        found = await list_deployments(reading, wanted, behind, at_most=limit + 1)
    return DeploymentPage(*page(found, limit, place_of))


async def artifact_detail(parts: Parts, name: ArtifactName) -> ArtifactDetail:
    """Raises :class:`NotFound`."""
    async with parts.database.reading() as reading:
        row = (await reading.execute(ARTIFACTS.where(artifacts.c.name == name))).one_or_none()
    if row is None:
        raise unknown_artifact(name)
    shown = artifact_of(row)
    return ArtifactDetail(
        name=name,
        envelope=row.envelope,
        replicas=() if shown.collected else await _replicas(parts, shown.digest),
        deployable=shown.deployable,
        build=shown.build,
        pinned=shown.pinned,
        collected=shown.collected,
        collected_why=shown.collected_why,
    )


async def _regions(reading: AsyncConnection) -> tuple[RegionStatus, ...]:
    count = await count_machines(reading)
    return tuple(status_of(region, count.get(region.name, 0)) for region in await known_regions(reading))


async def _replicas(parts: Parts, digest: Digest) -> tuple[Replica, ...]:
    async with parts.replication_database.reading() as reading:
        return await list_replicas(reading, digest)
