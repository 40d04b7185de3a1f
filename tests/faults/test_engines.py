"""An engine is stopped in the middle of a deployment, and started again: PostgreSQL, etcd of control or of a region, the S3
store. Nobody does anything else, and the deployment ends as it would have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import pytest

import victims
from company import PART_BYTES, Deploying
from engine_company import EngineCompany
from fleetcast.cli.demo.engines.servers import CONTROL, NAME, Servers
from fleetcast.launch import sweeper
from founding import found_on
from running import wait_until

Figure = Callable[[str], AbstractContextManager[None]]
REGION: Final = "eu"
MISSING: Final = "are its servers running"
"""What a process says of an etcd that is away."""
RECORDS: Final = f"/{NAME}/kv/artifacts/"


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineCompany]:
    temporary = tmp_path_factory.mktemp("engines")
    servers = Servers(temporary / "servers", (REGION,), lambda *_: None)
    try:
        servers.start()
        company = found_on(servers, temporary, regions=(REGION,), machines=2, content_mib=24)
        yield company
        company.close()
    finally:
        servers.close()
        sweeper.remove(temporary / "servers")


@pytest.fixture(autouse=True)
def _every_server_runs(company: EngineCompany) -> Iterator[None]:
    """For the next test, however this one went."""
    yield
    for server in company.servers.made:
        if not server.running:
            server.start()


def building(company: EngineCompany) -> Deploying:
    """A deployment whose build does not end before the gate is opened."""
    company.shut("build")
    deploying = company.deploy()

    def runs() -> bool:
        return company.state(deploying.sha) == "BUILDING" and company.running(deploying.sha)

    wait_until(lambda: runs() and bool(company.commands("worker-1")), "it is BUILDING, and the build's command runs")
    return deploying


def replicating(company: EngineCompany) -> Deploying:
    """One whose copy has the first bytes, and gets no more before the valve is opened."""
    company.main.down.hold_after(PART_BYTES + PART_BYTES // 2)
    before = company.main.down.passed
    deploying = company.deploy()

    def copying() -> bool:
        return company.state(deploying.sha) == "REPLICATING" and company.main.down.passed - before >= PART_BYTES

    wait_until(copying, "it is REPLICATING, and a part of the copy was read")
    return deploying


def distributing(company: EngineCompany) -> Deploying:
    """One of which machines have a part."""
    company.buckets[REGION].down.hold_after(company.content_bytes // 2)
    deploying = company.deploy()
    wait_until(lambda: fetching(company, deploying), "it is DISTRIBUTING, and machines have a part")
    return deploying


def fetching(company: EngineCompany, deploying: Deploying) -> bool:
    if company.state(deploying.sha) != "DISTRIBUTING":
        return False
    return all(0.1 <= company.share_fetched(machine, deploying.sha) <= 0.9 for machine in company.machines)


@pytest.mark.parametrize(("whose", "process"), [(CONTROL, "control"), (REGION, f"region-{REGION}")])
def test_etcd_while_building(company: EngineCompany, figure: Figure, whose: str, process: str) -> None:
    """The artifact's record gets nowhere: neither from control, nor into the region."""
    deploying = building(company)
    etcd = company.servers.etcd[whose]
    misses = company.said(process, MISSING)
    etcd.stop()
    assert company.state(deploying.sha) == "BUILDING"
    with figure(f"etcd of {whose} away while BUILDING"):
        company.open_all()
        wait_until(lambda: company.state(deploying.sha) == "REPLICATING" and misses(), f"{process} misses etcd")
        etcd.start()
        company.settle(deploying)


def test_every_etcd_while_distributing(company: EngineCompany, figure: Figure) -> None:
    """Machines fetch on, and only what control writes at the end waits."""
    deploying = distributing(company)
    servers = company.servers.etcd.values()
    for etcd in servers:
        etcd.stop()
    assert fetching(company, deploying)
    with figure("every etcd away while DISTRIBUTING"):
        company.open_all()
        wait_until(
            lambda: all(company.share_fetched(machine, deploying.sha) == 1 for machine in company.machines), "machines have it"
        )
        for etcd in servers:
            etcd.start()
        company.settle(deploying)


def test_etcd_compacted_while_a_region_is_away(company: EngineCompany, figure: Figure) -> None:
    """It has been told of the first record, and asks for what came after that, which is history no more."""
    stopped = company.pid(f"region-{REGION}")
    deploying = building(company)
    victims.stop(stopped)
    try:
        records = _records(company)
        company.open_all()
        wait_until(lambda: _records(company) > records, "the record of the first is written")
        newest = company.deploy()
        wait_until(lambda: _records(company) > records + 1, "that of a second one too")
        assert company.state(newest.sha) == "REPLICATING"
        assert victims.stopped(stopped)
        for etcd in company.servers.etcd.values():
            etcd.ctl("compaction", str(_revision(etcd.ctl("endpoint", "status", "--write-out=json"))))
        afresh = company.said("control", "kv_page_from_snapshot")
    finally:
        victims.resume(stopped)
    with figure("etcd compacted while the region was stopped"):
        company.settle(newest)
    assert afresh(), "it was answered with a snapshot"
    deploying.process.communicate()
    assert company.state(deploying.sha) == "SUPERSEDED"


@pytest.mark.parametrize("until", [building, replicating, distributing])
def test_the_store(company: EngineCompany, figure: Figure, until: Callable[[EngineCompany], Deploying]) -> None:
    """Uploaded to, copied within, read from by machines: the next attempt goes on where it can."""
    deploying = until(company)
    state = company.state(deploying.sha)
    away = company.main.refused
    cut = company.said(f"region-{REGION}", "data_port_")
    company.servers.s3.stop()
    assert company.state(deploying.sha) == state
    with figure(f"the store away while {state}"):
        company.open_all()
        wait_until(cut if until is distributing else lambda: company.main.refused > away, "somebody misses the store")
        company.servers.s3.start()
        company.settle(deploying, attempts=_attempts(company, deploying))


@pytest.mark.parametrize("until", [building, distributing])
def test_postgresql(company: EngineCompany, figure: Figure, until: Callable[[EngineCompany], Deploying]) -> None:
    """In order, or at once: builds and machines do not notice, who asks is answered again."""
    deploying = until(company)
    state = company.state(deploying.sha)
    misses = company.said("control", "connection to the database")
    postgres = company.servers.postgres
    (postgres.stop if until is building else postgres.crash)()
    with figure(f"PostgreSQL away while {state}"):
        company.open_all()
        wait_until(misses, "control misses its database")
        postgres.start()
        company.settle(deploying)


def _attempts(company: EngineCompany, deploying: Deploying) -> int:
    """An upload that the store did not take is one of the next attempt."""
    wait_until(lambda: company.state(deploying.sha) not in ("BUILDING", ""), "it is built")
    job: Any = company.job(deploying.sha)
    return int(job["attempt"])


def _records(company: EngineCompany) -> int:
    return company.servers.etcd[CONTROL].ctl("get", "--prefix", "--keys-only", RECORDS).count(RECORDS)


def _revision(status: str) -> int:
    """Of a cluster, from what ``etcdctl endpoint status`` says."""
    return int(json.loads(status)[0]["Status"]["header"]["revision"])
