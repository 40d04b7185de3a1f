"""The API for regions: what they report, and what they may know of the global KV and the main store."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody

from fleetcast.control import kv_pages
from fleetcast.control.artifact_queries import source_of
from fleetcast.control.audiences import REGIONS
from fleetcast.control.parts import PartsHere
from fleetcast.http.holding import held_s
from fleetcast.model.errors import Invalid, Unavailable
from fleetcast.model.ids import digest as legal_digest
from fleetcast.model.ids import machine_id, region_name
from fleetcast.model.limits import KV_WAIT_S_MAX, REGION_REPORT_BYTES_MAX
from fleetcast.model.messages.regions import (
    KvPage,
    MachineAnswered,
    RegionHello,
    RegionReport,
    ReportAccepted,
    SourceGrants,
)
from fleetcast.rollouts import questions
from fleetcast.rollouts.intake import record_hello, record_report


@post("/v1/regions/{region:str}/hello", status_code=200, guards=REGIONS)
async def hello(region: FromPath[str], data: JSONBody[RegionHello], parts: PartsHere) -> ReportAccepted:
    """A region process started. From now on its bucket counts."""
    _must_be(data.region, region)
    try:
        key = bytes.fromhex(data.data_key)
    except ValueError:
        key = b""
    if not key or not data.data_url.startswith(("http://", "https://")):
        raise Invalid("illegal_hello", "a region names its data port by an http(s) URL and a key in hex digits")
    await record_hello(parts.database, data)
    await parts.buckets.refresh()
    parts.controller.wake()
    parts.news.ring()
    return ReportAccepted()


@post("/v1/regions/{region:str}/report", status_code=200, guards=REGIONS, request_max_body_size=REGION_REPORT_BYTES_MAX)
async def report(region: FromPath[str], data: JSONBody[RegionReport], parts: PartsHere) -> ReportAccepted:
    """Everything the region knows; what an earlier report said is replaced."""
    _must_be(data.region, region)
    for machine in data.machines:
        machine_id(machine.id)
        _must_be(machine.region, region)
    now_ms = await record_report(parts.database, data)
    parts.controller.wake()
    parts.news.ring()
    async with parts.database.reading() as reading:
        return ReportAccepted(await questions.wanted(reading, data.region), now_ms)


@post("/v1/regions/{region:str}/answers", status_code=200, guards=REGIONS)
async def answer(region: FromPath[str], data: JSONBody[MachineAnswered], parts: PartsHere) -> ReportAccepted:
    """About a machine that the region was asked for."""
    _must_be(data.region, region)
    machine_id(data.answer.machine)
    async with parts.database.transaction() as tx:
        await questions.record_answer(tx, data.region, data.answer)
    parts.news.ring()
    return ReportAccepted()


@get("/v1/kv", guards=REGIONS)
async def kv_page(
    parts: PartsHere, prefix: FromQuery[str] = "", after: FromQuery[int] = 0, wait_s: FromQuery[float] = 0.0
) -> KvPage:
    """What changed under ``prefix`` after a revision; held up to ``wait_s`` until something did."""
    wanted = kv_pages.page(parts.kv, prefix, after, held_s(wait_s, KV_WAIT_S_MAX))
    page = await parts.news.until_closed(wanted)
    if page is None:
        raise Unavailable("stopping", "this control process stops: ask again")
    return page


@post("/v1/artifacts/{digest:str}/source", status_code=200, guards=REGIONS)
async def source(digest: FromPath[str], parts: PartsHere) -> SourceGrants:
    """Read grants on the main store's copy, for a region to fill its bucket from."""
    return await source_of(parts, legal_digest(digest))


def _must_be(stated: str, region: str) -> None:
    if region_name(region) != stated:
        raise Invalid(
            "wrong_region",
            f"this speaks of region {stated!r} and was sent to that of {region!r}: correct the region's settings",
        )


HANDLERS = (hello, report, answer, kv_page, source)
