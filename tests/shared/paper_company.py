"""A company without processes: database, KV, queue, triggers and controller are real, the test plays workers and regions."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from sqlalchemy import insert, select, update

from fleetcast.builds.queue import BuildQueue, Claim, QueueLimits
from fleetcast.model.artifact import goal_key
from fleetcast.model.build import Recipe
from fleetcast.model.deployment import ByteCounts, Deployment, DeploymentState
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal
from fleetcast.model.ids import BuildId, CommitSha, DeploymentId, MachineId, RegionName, ServiceName
from fleetcast.model.machine import Machine
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.deployments import DeployRequest, RollbackRequest
from fleetcast.model.messages.regions import RegionHello, RegionReport
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.report import DeploymentRollup, NamedFailure
from fleetcast.rollouts.controller import RolloutController
from fleetcast.rollouts.deployments import get_deployment
from fleetcast.rollouts.intake import record_hello, record_report
from fleetcast.rollouts.services import put_service
from fleetcast.rollouts.triggers import Triggers
from fleetcast.schema.tables import artifacts, deployments, releases
from fleetcast.schema.upsert import upsert
from fleetcast.stores.database import Database, now_ms
from fleetcast.stores.sqlite_kv import SqliteKv

WEB = ServiceName("web")
CONTENT_BYTES = 1000


def sha(letter: str) -> CommitSha:
    return CommitSha(letter * 40)


@dataclass
class Company:
    """``web`` runs on two machines in ``eu`` and one in ``us``. A commit is one letter."""

    database: Database
    kv: SqliteKv
    queue: BuildQueue
    triggers: Triggers
    controller: RolloutController
    machines: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"eu": ("eu-1", "eu-2"), "us": ("us-1",)})
    running: list[Claim] = field(default_factory=list)

    async def settle_in(self) -> None:
        async with self.database.transaction() as tx:
            await put_service(tx, ServiceSpec(WEB, "/repo", recipe=Recipe(build="make", output="out")))
        for region in self.machines:
            await record_hello(self.database, RegionHello(RegionName(region), f"http://{region}", "00"))
            await self.report(region)

    # People

    async def deploy(self, commit: str, *, rebuild: bool = False, allow_unmerged: bool = False) -> DeploymentId:
        return (await self.triggers.deploy(DeployRequest(WEB, sha(commit), rebuild, allow_unmerged))).id

    async def build(self, commit: str) -> BuildId:
        """To go on whatever becomes of deployments."""
        return await self.triggers.build(BuildRequest(WEB, sha(commit)))

    async def rollback(self, to: str | None = None) -> DeploymentId:
        return (await self.triggers.rollback(RollbackRequest(WEB, None if to is None else sha(to)))).id

    async def show(self, deployment: DeploymentId) -> Deployment:
        async with self.database.reading() as reading:
            return await get_deployment(reading, deployment)

    async def state(self, deployment: DeploymentId) -> DeploymentState:
        return (await self.show(deployment)).state

    # Workers and buckets

    async def claim(self) -> Claim:
        claim = await self.queue.claim("w1")
        assert claim is not None
        self.running.append(claim)
        return claim

    async def finish(self, commit: str) -> None:
        """The running build of ``commit`` succeeds. Equal letters give equal digests, every build its own root."""
        claim = next(one for one in self.running if one.build.commit_sha == sha(commit))
        self.running.remove(claim)
        async with self.database.transaction() as tx:
            number = int(claim.build.name.partition(".")[2] or 1)
            await tx.execute(
                insert(artifacts).values(
                    name=claim.build.name,
                    service=claim.build.service,
                    commit_sha=claim.build.commit_sha,
                    build_number=number,
                    build_id=claim.build.id,
                    attempt=1,
                    trunk=claim.trunk,
                    digest=commit * 64,
                    root=f"{claim.build.id:064x}",
                    envelope="{}",
                    manifest_size=10,
                    content_size=CONTENT_BYTES,
                    manifest_blob="m",
                    content_blob="c",
                    created_at=now_ms(),
                )
            )
            await self.queue.succeed(tx, claim.build.id, claim.token, "c")

    async def replicate(
        self, commit: str, *, deployable: bool = True, waiting_for: str = "", lacking: tuple[RegionName, ...] = ()
    ) -> None:
        async with self.database.transaction() as tx:
            now = (await tx.execute(select(now_ms()))).scalar_one()
            row = {"digest": commit * 64, "deployable": deployable, "completed_at": now, "waiting_for": waiting_for}
            row |= {"lacking": lacking or None}
            await upsert(tx, releases, [row], update=["deployable", "completed_at", "waiting_for", "lacking"])

    async def make(self, commit: str) -> None:
        """Build ``commit`` and have it in every bucket."""
        await self.claim()
        await self.finish(commit)
        await self.replicate(commit)

    # Regions

    async def report(self, region: str, *rollups: DeploymentRollup) -> None:
        machines = tuple(Machine(MachineId(id_), RegionName(region)) for id_ in self.machines[region])
        await record_report(self.database, RegionReport(RegionName(region), machines, rollups, ()))

    async def active(
        self, deployment: DeploymentId, counts: Mapping[str, int], failed: Mapping[str, int] | None = None
    ) -> None:
        """Regions report so many active machines, and so many failed ones, the last in the list first."""
        failed = failed or {}
        for region in self.machines:
            active, bad = counts.get(region, 0), failed.get(region, 0)
            names = self.machines[region]
            failures = tuple(NamedFailure(MachineId(name), "health check failed") for name in names[len(names) - bad :])
            waiting = tuple(NamedFailure(MachineId(name), "no permit") for name in names[active : len(names) - bad])
            sums = ByteCounts(origin=100 * active, peer=CONTENT_BYTES * active - 100 * active)
            rollup = DeploymentRollup(
                deployment=deployment,
                service=WEB,
                environment="production",
                generation=Generation(0, 1),
                selected=len(names),
                reporting=len(names),
                fetched=active + bad,
                active=active,
                failed=bad,
                bytes=sums,
                last_active_age_ms=0,
                failures=failures,
                waiting=waiting,
            )
            await self.report(region, rollup)

    async def everywhere(self, deployment: DeploymentId) -> None:
        await self.active(deployment, {region: len(names) for region, names in self.machines.items()})

    # Control

    async def step(self) -> None:
        await self.controller.step()

    async def goal(self) -> Goal | None:
        entry = await self.kv.get(goal_key("production", WEB))
        return None if entry is None else msgspec.json.decode(entry.value, type=Goal)

    async def succeed(self, commit: str) -> DeploymentId:
        """``commit``, from trigger to SUCCEEDED."""
        deployment = await self.deploy(commit)
        await self.make(commit)
        await self.step()
        await self.everywhere(deployment)
        await self.step()
        assert await self.state(deployment) is DeploymentState.SUCCEEDED
        return deployment

    async def passed(self, deployment: DeploymentId, seconds: float) -> None:
        """Everything so far of this deployment happened earlier."""
        ms = int(seconds * 1000)
        times = ("created_at", "built_at", "replicated_at", "goal_at", "claim_expires_at")
        async with self.database.transaction() as tx:
            await tx.execute(
                update(deployments)
                .where(deployments.c.id == deployment)
                .values({name: deployments.c[name] - ms for name in times})
            )


@contextlib.asynccontextmanager
async def paper_company(directory: Path, database_url: str) -> AsyncIterator[Company]:
    """One that has settled in."""
    database = await Database.open(database_url)
    kv = await SqliteKv.open(directory / "kv.db")
    queue = BuildQueue(database, QueueLimits(attempts_max=1, queued_s_max=7200, silence_s_max=600))
    company = Company(database, kv, queue, Triggers(database, queue), RolloutController(database, kv, queue))
    await company.settle_in()
    yield company
    await kv.close()
    await database.close()
