"""The API for regions: what they report, and what they may know of the global KV and the main store."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from litestar import get, post
from litestar.params import JSONBody, QueryParameter

from fleetcast.control import kv_pages
from fleetcast.control.artifact_queries import source_of
from fleetcast.control.audiences import REGIONS
from fleetcast.control.parts import PartsHere
from fleetcast.http.holding import held_s
from fleetcast.http.parameters import DigestInPath, RegionInPath, WaitS
from fleetcast.model.errors import Invalid, NotFound, Unavailable, Unprocessable
from fleetcast.model.ids import digest as legal_digest
from fleetcast.model.ids import environment_name, machine_id, region_name, service_name
from fleetcast.model.limits import KV_KEY_BYTES_MAX, KV_WAIT_S_MAX, REGION_REPORT_BYTES_MAX
from fleetcast.model.messages.regions import (
    DATA_KEY,
    DATA_URL,
    KvPage,
    MachineAnswered,
    RegionHello,
    RegionReport,
    ReportAccepted,
    SourceGrants,
    Surplus,
    SurplusJudged,
)
from fleetcast.model.spelling import INTEGER_MAX
from fleetcast.retention.surplus import may_delete
from fleetcast.rollouts import demands, questions, region_rollbacks
from fleetcast.rollouts.intake import record_hello, record_report
from fleetcast.rollouts.retiring import recently_retired

REVISION: Final = {"maximum": INTEGER_MAX}
"""Said again as a whole number: Litestar makes a float of it, and rounds it up."""


@post("/v1/regions/{region:str}/hello", status_code=200, guards=REGIONS, errors=(Unprocessable,))
async def say_hello(region: RegionInPath, data: JSONBody[RegionHello], parts: PartsHere) -> ReportAccepted:
    """A region process started: from now on its bucket counts."""
    _must_be(data.region, region)
    if not (DATA_KEY.fits(data.data_key) and DATA_URL.fits(data.data_url)):
        raise Invalid("illegal_hello", "a region names its data port by an http(s) URL and a key in hex digits")
    try:
        _ = urlsplit(data.data_url).port
    except ValueError as error:
        raise Unprocessable("illegal_hello", f"{data.data_url} leads nowhere: {error}") from None
    await record_hello(parts.database, data)
    await parts.buckets.refresh()
    parts.stir()
    return ReportAccepted()


@post(
    "/v1/regions/{region:str}/report",
    status_code=200,
    guards=REGIONS,
    request_max_body_size=REGION_REPORT_BYTES_MAX,
    errors=(NotFound, Unprocessable),
)
async def report_region(region: RegionInPath, data: JSONBody[RegionReport], parts: PartsHere) -> ReportAccepted:
    """Everything the region knows.

    What an earlier report said is replaced.
    """
    _must_be(data.region, region)
    _check(data)
    now_ms = await record_report(parts.database, data)
    parts.stir()
    async with parts.database.reading() as reading:
        asked = await questions.wanted(reading, data.region)
        over = await region_rollbacks.over(reading, data.rollbacks)
        gone = await recently_retired(reading, data.region)
        return ReportAccepted(asked, now_ms, await demands.wanted(reading, data.region), over, gone)


@post("/v1/regions/{region:str}/answers", status_code=200, guards=REGIONS, errors=(Unprocessable,))
async def answer_about_machine(region: RegionInPath, data: JSONBody[MachineAnswered], parts: PartsHere) -> ReportAccepted:
    """What is known of a machine that the region was asked for."""
    _must_be(data.region, region)
    machine_id(data.answer.machine)
    for service in data.answer.services:
        service_name(service.service)
        for release in (service.target, *([service.running] if service.running is not None else [])):
            legal_digest(release.digest)
            legal_digest(release.root)
    async with parts.database.transaction() as tx:
        await questions.record_answer(tx, data.region, data.answer)
    parts.news.ring()
    return ReportAccepted()


@post("/v1/regions/{region:str}/surplus", status_code=200, guards=REGIONS, errors=(NotFound, Unprocessable))
async def judge_surplus(region: RegionInPath, data: JSONBody[Surplus], parts: PartsHere) -> SurplusJudged:
    """Which copies without a record may be deleted."""
    _must_be(data.region, region)
    held = [legal_digest(digest) for digest in data.digests]
    async with parts.database.transaction() as tx:
        return SurplusJudged(await may_delete(tx, data.region, held))


@get("/v1/kv", guards=REGIONS)
async def read_kv(
    parts: PartsHere,
    prefix: Annotated[
        str, QueryParameter(pattern=r"^[!-~]*$", max_length=KV_KEY_BYTES_MAX, description="What the keys begin with.")
    ] = "",
    after: Annotated[
        int, QueryParameter(ge=0, le=INTEGER_MAX, schema_extra=REVISION, description="A revision; 0: everything.")
    ] = 0,
    wait_s: WaitS = 0.0,
) -> KvPage:
    """What changed in the key-value store after a revision.

    Held up to ``wait_s`` until something did; not at all where too many are held already.
    """
    with parts.kv_places.taken(held_s(wait_s, KV_WAIT_S_MAX)) as wait_s:
        page = await parts.news.until_closed(kv_pages.page(parts.kv, prefix, after, wait_s))
    if page is None:
        raise Unavailable("stopping", "this control process stops: ask again")
    return page


@post("/v1/artifacts/{digest:str}/source", status_code=200, guards=REGIONS, errors=(NotFound,))
async def grant_source(digest: DigestInPath, parts: PartsHere) -> SourceGrants:
    """Read grants on the main store's copy, for a region to fill its bucket from."""
    return await source_of(parts, legal_digest(digest))


def _check(report: RegionReport) -> None:
    for machine in report.machines:
        machine_id(machine.id)
        _must_be(machine.region, report.region)
    for told in report.rollbacks:
        _must_be(told.rollback.region, report.region)
        service_name(told.rollback.service)
        environment_name(told.rollback.environment)
        for release in (told.rollback.left, told.rollback.target):
            legal_digest(release.digest)
            legal_digest(release.root)
    for rollup in report.rollups:
        service_name(rollup.service)
        for failure in (*rollup.failures, *rollup.waiting):
            machine_id(failure.machine)
        for progress in rollup.machines:
            machine_id(progress.machine)
    for digest in (*(copy.digest for copy in report.copies), *(demand.digest for demand in report.demands)):
        legal_digest(digest)


def _must_be(stated: str, region: str) -> None:
    if region_name(region) != stated:
        raise Unprocessable(
            "wrong_region",
            f"this speaks of region {stated!r} and was sent to that of {region!r}: correct the region's settings",
        )


HANDLERS = (say_hello, report_region, answer_about_machine, judge_surplus, read_kv, grant_source)
