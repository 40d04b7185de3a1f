"""What a trigger refuses, and that triggers of one service are in one order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from fleetcast.model.build import BuildStatus
from fleetcast.model.deployment import DeploymentState as State
from fleetcast.model.errors import Invalid, NotFound, Refused, Stale
from fleetcast.model.ids import CommitSha, DeploymentId, MachineId, RegionName, ServiceName
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.messages.deployments import DeployRequest, RollbackRequest
from fleetcast.model.messages.regions import RegionHello, RegionReport
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.rollouts.intake import record_hello, record_report
from fleetcast.rollouts.services import get_service, list_services, put_service
from fleetcast.schema.tables import machines, regions

if TYPE_CHECKING:
    from conftest import Company

API = ServiceName("api")


async def _put(company: Company, spec: ServiceSpec) -> None:
    async with company.database.transaction() as tx:
        await put_service(tx, spec)


async def test_unknown_and_illegal_things_are_refused(company: Company) -> None:
    with pytest.raises(NotFound, match="no service 'api'"):
        await company.triggers.deploy(DeployRequest(API, CommitSha("a" * 40)))
    with pytest.raises(NotFound, match="no service 'api'"):
        await company.triggers.rollback(RollbackRequest(API))
    with pytest.raises(Invalid, match="full commit SHA"):
        await company.triggers.deploy(DeployRequest(ServiceName("web"), CommitSha("main")))
    with pytest.raises(NotFound, match="no deployment d1"):
        await company.triggers.abort(DeploymentId("d1"))
    with pytest.raises(Refused, match="never deployed") as refused:
        await company.rollback()
    assert refused.value.code == "nothing_deployed"


async def test_a_service_that_selects_no_machine_is_refused_and_nothing_is_queued(company: Company) -> None:
    await _put(company, ServiceSpec(API, "/repo", selector=Selector(labels={"gpu": "yes"})))
    with pytest.raises(Refused, match="selects no machine") as refused:
        await company.triggers.deploy(DeployRequest(API, CommitSha("a" * 40)))
    assert refused.value.code == "no_machines"
    assert await company.queue.claim("w1") is None

    await record_hello(company.database, RegionHello(RegionName("ap"), "http://ap", "00"))
    labelled = Machine(MachineId("ap-1"), RegionName("ap"), labels={"gpu": "yes", "disk": "ssd"})
    await record_report(company.database, RegionReport(RegionName("ap"), (labelled,), (), ()))
    shown = await company.triggers.deploy(DeployRequest(API, CommitSha("a" * 40)))
    assert shown.progress.total == 1


async def test_drained_regions_and_retired_machines_are_not_meant(company: Company) -> None:
    async with company.database.transaction() as tx:
        await tx.execute(update(regions).where(regions.c.name == "us").values(drained=True))
        await tx.execute(update(machines).where(machines.c.id == "eu-2").values(retired_at=1))
    a = await company.deploy("a")
    assert (await company.show(a)).progress.total == 1


async def test_sequences_count_up_without_a_gap_however_many_trigger_at_once(company: Company) -> None:
    deployments = await asyncio.gather(*(company.deploy(letter) for letter in "abcdefab"))
    shown = [await company.show(one) for one in deployments]
    assert sorted(one.sequence for one in shown) == list(range(1, 9))
    assert len({one.id for one in shown}) == 8
    assert len({one.build for one in shown}) == 6  # triggers of one commit share its build


async def test_other_services_have_their_own_order_and_goal(company: Company) -> None:
    await _put(company, ServiceSpec(API, "/repo"))
    web = await company.deploy("a")
    api = await company.triggers.deploy(DeployRequest(API, CommitSha("a" * 40)))
    assert ((await company.show(web)).sequence, api.sequence) == (1, 1)
    assert api.build != (await company.show(web)).build


async def test_an_unmerged_artifact_is_no_way_around_the_trunk(company: Company) -> None:
    unmerged = await company.deploy("a", allow_unmerged=True)
    with pytest.raises(Refused, match="another repository, trunk or recipe"):
        await company.deploy("a")
    claim = await company.claim()
    assert claim.trunk == ""
    await company.finish("a")
    with pytest.raises(Refused, match="--allow-unmerged") as refused:
        await company.deploy("a")
    assert refused.value.code == "unmerged_artifact"
    await company.deploy("a", allow_unmerged=True)
    await company.deploy("a", rebuild=True)
    assert (await company.claim()).trunk == "main"
    assert await company.state(unmerged) is State.BUILDING


async def test_a_deployment_keeps_the_terms_it_was_triggered_with(company: Company) -> None:
    a = await company.deploy("a")
    await _put(company, ServiceSpec(ServiceName("web"), "/other", selector=Selector(regions=(RegionName("us"),))))
    await company.make("a")
    await company.step()
    goal = await company.goal()
    assert goal is not None
    assert goal.selector == Selector()
    assert (await company.show(a)).progress.total == 3


async def test_a_waiting_worker_is_told_after_the_job_is_there(company: Company) -> None:
    told: list[str] = []
    company.queue.on_queued = lambda: told.append("queued")
    await company.deploy("a")
    assert told == ["queued"]


@pytest.mark.parametrize("running", [False, True])
async def test_a_build_ends_with_the_deployment_that_wanted_it(company: Company, running: bool) -> None:
    a = await company.deploy("a")
    claim = await company.claim() if running else None
    build = (await company.show(a)).build
    assert build is not None

    assert (await company.triggers.abort(a)).reason == f"aborted while BUILDING; build {build} was stopped"

    ended = await company.queue.get(build)
    assert (ended.status, ended.reason) == (BuildStatus.FAILED, "nobody wants it any more: its deployment was aborted")
    assert await company.queue.claim("w2") is None
    if claim is not None:
        with pytest.raises(Stale):
            await company.queue.fail(build, claim.token, "its worker was killed", hand_back=True)
        with pytest.raises(Stale):
            await company.queue.heartbeat(build, claim.token)
    again = await company.show(await company.deploy("a"))
    assert again.build not in (None, build)


async def test_a_build_goes_on_while_another_deployment_wants_it(company: Company) -> None:
    first, second = await company.deploy("a"), await company.deploy("a")
    await company.claim()
    assert (await company.triggers.abort(first)).reason == "aborted while BUILDING"
    await company.finish("a")
    await company.step()
    assert await company.state(second) is State.REPLICATING


async def test_deployments_that_end_at_once_leave_no_build_behind(company: Company) -> None:
    going = [await company.deploy("a") for _ in range(4)]
    await company.claim()
    await asyncio.gather(*(company.triggers.abort(one) for one in going))
    build = (await company.show(going[0])).build
    assert build is not None
    assert (await company.queue.get(build)).status is BuildStatus.FAILED


@pytest.mark.parametrize("before", [True, False])
async def test_a_build_that_was_ordered_for_itself_goes_on(company: Company, before: bool) -> None:
    if before:
        await company.build("a")
    a = await company.deploy("a")
    if not before:
        await company.build("a")
    assert (await company.triggers.abort(a)).reason == "aborted while BUILDING"
    assert (await company.claim()).build.status is BuildStatus.RUNNING


async def test_a_build_of_what_a_newer_deployment_replaced_ends(company: Company) -> None:
    old = await company.deploy("a")
    await company.claim()
    await company.deploy("b")
    await company.make("b")
    await company.step()
    shown = await company.show(old)
    assert shown.state is State.SUPERSEDED
    assert shown.build is not None
    assert shown.reason.endswith(f"; build {shown.build} was stopped")
    assert (await company.queue.get(shown.build)).reason == "nobody wants it any more: its deployment was superseded"


async def test_an_aborted_build_fails_what_waits_for_it(company: Company) -> None:
    first, second = await company.deploy("a"), await company.deploy("a")
    claim = await company.claim()
    assert (await company.queue.abort(claim.build.id)).status is BuildStatus.FAILED
    await company.step()
    for deployment in (first, second):
        shown = await company.show(deployment)
        assert (shown.state, shown.reason) == (State.FAILED, f"build {claim.build.id} was aborted")
    with pytest.raises(Refused, match="FAILED already"):
        await company.queue.abort(claim.build.id)


async def test_services_are_kept_as_they_were_put(company: Company) -> None:
    spec = ServiceSpec(API, "/repo", trunk="release", selector=Selector(zones=("a",), labels={"x": "y"}), max_unavailable=3)
    await _put(company, ServiceSpec(API, "/before"))
    await _put(company, spec)
    async with company.database.reading() as reading:
        assert await get_service(reading, API) == spec
        assert [one.name for one in await list_services(reading)] == ["api", "web"]


async def test_an_older_build_that_finishes_late_supersedes_nothing(company: Company) -> None:
    older, newer = await company.deploy("b"), await company.deploy("c")
    await company.build("b")  # so that it goes on
    await company.claim()
    await company.make("c")
    await company.step()
    await company.finish("b")
    await company.replicate("b")
    await company.step()
    assert [await company.state(one) for one in (older, newer)] == [State.SUPERSEDED, State.DISTRIBUTING]
