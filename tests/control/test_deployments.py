"""A deployment from trigger to end, as people and regions see it through the API."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from fleetcast.http import messages
from fleetcast.http.tokens import Role
from fleetcast.model.artifact import ArtifactRecord, goal_key
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Refused
from fleetcast.model.goal import Goal
from fleetcast.model.ids import CommitSha, MachineId, RegionName, ServiceName
from fleetcast.model.limits import MESSAGE_BYTES_MAX
from fleetcast.model.machine import Machine
from fleetcast.model.messages.deployments import DeploymentDetail, DeployRequest, RollbackRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.replication import ReplicaStatus

pytestmark = pytest.mark.one_engine

WEB, A, B = ServiceName("web"), CommitSha("a" * 40), CommitSha("b" * 40)
SOON_S = 60.0


async def _until(client: Any, deployment: Any, wanted: Callable[[DeploymentDetail], bool]) -> DeploymentDetail:
    """Follow a deployment by its versions, as ``watch`` does."""
    seen = ""
    async with asyncio.timeout(SOON_S):
        while True:
            detail: DeploymentDetail = await client.deployment(deployment.id, wait_s=5, seen=seen)
            if wanted(detail):
                return detail
            seen = detail.version


async def test_a_region_of_many_machines_is_heard(control: Any) -> None:
    """Its report is larger than any other message may be."""
    labels = {f"label-{number}": "x" * 60 for number in range(10)}
    async with control() as installation:
        region, admin = await installation.region(), await installation.client(Role.ADMIN)
        region.machines = tuple(
            Machine(MachineId(f"m{number}"), RegionName("eu-west"), labels=labels) for number in range(8000)
        )
        assert len(messages.encode(region.machines)) > MESSAGE_BYTES_MAX
        await region.report()
        assert [known.machines for known in (await admin.status()).regions] == [8000]


class Company:
    """Admin, worker and region of one installation, and a whole deployment in one call."""

    def __init__(self, installation: Any) -> None:
        self.installation = installation

    async def open(self) -> Company:
        self.admin = await self.installation.client(Role.ADMIN)
        self.worker = await self.installation.client(Role.WORKER)
        self.region = await self.installation.region()
        await self.admin.put_service(ServiceSpec(WEB, "/srv/web.git", trunk=""))
        return self

    async def deploy(self, commit: CommitSha, text: str) -> DeploymentDetail:
        """Trigger, build, copy, activate."""
        deployment = await self.admin.deploy(DeployRequest(WEB, commit))
        claimed = await self.worker.claim("w1", wait_s=5)
        await self.installation.publish(self.worker, claimed, text)
        await self.copy(commit)
        return await self.activate(deployment)

    async def copy(self, commit: CommitSha) -> ArtifactRecord:
        """Wait for the artifact's record in the global KV, then do what it asks of a region."""
        async with asyncio.timeout(SOON_S):
            while True:
                page = await self.region.client.kv_page("artifacts/", 0)
                for entry in page.entries:
                    record = messages.decode(entry.value, ArtifactRecord)
                    if record.release.artifact == f"web/{commit}":
                        await self.region.copy(record)
                        return record
                await asyncio.sleep(0.02)

    async def activate(self, deployment: Any) -> DeploymentDetail:
        going = await _until(self.admin, deployment, lambda it: it.deployment.state is DeploymentState.DISTRIBUTING)
        shown = going.deployment
        await self.region.active(shown, shown.generation, shown.artifact_bytes)
        return await _until(self.admin, deployment, lambda it: it.deployment.state.ended)


async def test_a_deployment_goes_all_the_way(control: Any) -> None:
    async with control() as installation:
        company = await Company(installation).open()
        done = await company.deploy(A, "one")
        shown = done.deployment
        assert shown.state is DeploymentState.SUCCEEDED, shown.reason
        assert (shown.progress.active, shown.progress.total) == (2, 2)
        assert shown.progress.bytes.total == 2 * shown.artifact_bytes
        assert None not in (shown.build_s, shown.replicate_s, shown.distribute_s)
        assert [(it.bucket, it.status) for it in done.replicas] == [("eu-west", ReplicaStatus.COMPLETE)]
        assert (await company.admin.artifact(f"web/{A}")).deployable
        status = await company.admin.status()
        assert [it.id for it in status.deployments] == [shown.id]
        assert [(it.name, it.machines, it.drained) for it in status.regions] == [("eu-west", 2, False)]
        assert status.regions[0].last_report_age_s is not None
        assert [machine.id async for machine in company.admin.machines()] == ["m1", "m2"]


async def test_a_region_reads_goals_as_changes_and_after_loss_as_a_snapshot(control: Any) -> None:
    async with control() as installation:
        company = await Company(installation).open()
        empty = await company.region.client.kv_page("goals/", 0)
        assert (empty.snapshot, empty.entries) == (True, ())
        await company.deploy(A, "one")
        before = await company.region.client.kv_page("", 0)
        assert before.snapshot
        assert [entry.key.partition("/")[0] for entry in before.entries] == ["artifacts", "goals"]

        held = asyncio.create_task(company.region.client.kv_page("goals/", before.revision, wait_s=30))
        done = await company.deploy(B, "two")
        first_news = await asyncio.wait_for(held, SOON_S)
        assert not first_news.snapshot
        page = await company.region.client.kv_page("goals/", before.revision)
        assert not page.snapshot
        (entry,) = page.entries  # only its newest value, though it was written twice
        assert entry.key == goal_key("production", WEB)
        goal = messages.decode(entry.value, Goal)
        assert (goal.deployment, goal.target, goal.baseline) == (done.deployment.id, done.deployment.release, goal.target)

        quiet = await company.region.client.kv_page("goals/", page.revision)
        assert (quiet.snapshot, quiet.entries, quiet.deleted) == (False, (), ())
        beyond = await company.region.client.kv_page("goals/", page.revision + 1000)
        assert beyond.snapshot
        assert [it.key for it in beyond.entries] == [entry.key]


async def test_compacted_history_is_answered_with_a_snapshot(control: Any) -> None:
    async with control() as installation:
        company = await Company(installation).open()
        await company.deploy(A, "one")
        newest = (await company.region.client.kv_page("", 0)).revision
        with sqlite3.connect(installation.home / "kv.db") as kv:
            kv.execute("UPDATE store SET compacted = ?", (newest - 1,))
        kv.close()
        assert (await company.region.client.kv_page("goals/", 1)).snapshot
        assert not (await company.region.client.kv_page("goals/", newest)).snapshot


async def test_a_rollback_goes_back_to_what_succeeded_and_fetches_no_build(control: Any) -> None:
    async with control() as installation:
        company = await Company(installation).open()
        first = await company.deploy(A, "one")
        with pytest.raises(Refused) as caught:
            await company.admin.rollback(RollbackRequest(WEB))
        assert caught.value.code == "nothing_earlier"
        with pytest.raises(Refused) as caught:
            await company.admin.rollback(RollbackRequest(WEB, A))
        assert caught.value.code == "already_there"
        second = await company.deploy(B, "two")
        assert second.deployment.state is DeploymentState.SUCCEEDED, second.deployment.reason
        back = await company.activate(await company.admin.rollback(RollbackRequest(WEB)))
        assert back.deployment.state is DeploymentState.SUCCEEDED, back.deployment.reason
        assert back.deployment.release == first.deployment.release
        assert (back.deployment.build_s, back.deployment.replicate_s, back.build) == (0, 0, None)
        assert (await company.admin.deployment(second.deployment.id)).deployment.rolled_back_by == back.deployment.id
        newest_first = [it.id async for it in company.admin.deployments(service=WEB)]
        assert newest_first == [back.deployment.id, second.deployment.id, first.deployment.id]
        assert [it.id for it in (await company.admin.deployment_page(service=WEB, limit=1)).items] == [back.deployment.id]


async def test_a_question_about_a_deployment_is_held_until_there_is_news(control: Any) -> None:
    async with control() as installation:
        company = await Company(installation).open()
        deployment = await company.admin.deploy(DeployRequest(WEB, A))
        detail = await _until(company.admin, deployment, lambda it: bool(it.deployment.reason))
        unchanged = await company.admin.deployment(deployment.id, wait_s=0.1, seen=detail.version)
        assert unchanged.version == detail.version
        held = asyncio.create_task(company.admin.deployment(deployment.id, wait_s=30, seen=detail.version))
        await company.admin.deployment(deployment.id, wait_s=0.1, seen=detail.version)
        assert not held.done()
        await company.worker.claim("w1", wait_s=5)
        news = await asyncio.wait_for(held, 15)
        assert news.version != detail.version
        assert news.build is not None
        assert news.build.worker == "w1"


async def test_an_aborted_deployment_has_ended(control: Any) -> None:
    async with control() as installation:
        company = await Company(installation).open()
        deployment = await company.admin.deploy(DeployRequest(WEB, A))
        aborted = await company.admin.abort(deployment.id)
        assert aborted.state is DeploymentState.ABORTED
        with pytest.raises(Refused):
            await company.admin.abort(deployment.id)


async def test_another_process_goes_on_where_one_ended(control: Any) -> None:
    async with control() as installation:
        company = await Company(installation).open()
        deployment = await company.admin.deploy(DeployRequest(WEB, A))
        claimed = await company.worker.claim("w1", wait_s=5)
    async with control() as installation:
        company = await Company(installation).open()
        await company.worker.heartbeat(claimed.build, claimed.token)
        await installation.publish(company.worker, claimed, "one")
        await company.copy(A)
        done = await company.activate(deployment)
        assert done.deployment.state is DeploymentState.SUCCEEDED, done.deployment.reason


async def test_replication_status_may_have_a_database_of_its_own(control: Any, tmp_path: Any) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'replication.db'}"
    async with control(replication_database_url=url) as installation:
        company = await Company(installation).open()
        done = await company.deploy(A, "one")
        assert done.deployment.state is DeploymentState.SUCCEEDED, done.deployment.reason
    with sqlite3.connect(tmp_path / "replication.db") as apart:
        assert apart.execute("SELECT status FROM replicas").fetchall() == [("COMPLETE",)]
    apart.close()
    with sqlite3.connect(tmp_path / "fleetcast.db") as main:
        assert main.execute("SELECT count(*) FROM replicas").fetchall() == [(0,)]
    main.close()
