"""The API for people: builds, their logs, and what they made."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from fleetcast.control import artifact_queries, queries
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import PartsHere
from fleetcast.control.streams import LogSource, log_offset
from fleetcast.http.holding import held_s, hold
from fleetcast.http.parameters import IdempotencyKey, LastEventId
from fleetcast.http.sse import EventStream, wants_stream
from fleetcast.model.build import Build
from fleetcast.model.errors import Invalid
from fleetcast.model.ids import ArtifactName, artifact_name, build_id, commit_sha, service_name
from fleetcast.model.limits import DEPLOYMENT_LOOK_INTERVAL_S, DEPLOYMENT_WAIT_S_MAX, PAGE_ITEMS
from fleetcast.model.messages.artifacts import (
    ArtifactDetail,
    ArtifactPage,
    BuildDetail,
    BuildLog,
    BuildPage,
    BuildRequest,
    CommitPage,
)
from fleetcast.model.messages.regions import SourceGrants
from fleetcast.schema.idempotency import request_key


@post("/v1/builds", status_code=201, guards=PEOPLE)
async def build(data: JSONBody[BuildRequest], parts: PartsHere, idempotency_key: IdempotencyKey = None) -> Build:
    """The build that makes, or made, the commit's artifact: a new one only where there is none to share."""
    service_name(data.service)
    commit_sha(data.commit_sha)
    return await parts.queue.get(await parts.triggers.build(data, request_key("build", idempotency_key, data)))


@get("/v1/builds", guards=PEOPLE)
async def builds(
    parts: PartsHere,
    service: FromQuery[str] = "",
    commit: FromQuery[str] = "",
    status: FromQuery[str] = "",
    after: FromQuery[str] = "",
    limit: FromQuery[int] = PAGE_ITEMS,
) -> BuildPage:
    """Newest first, of one service, commit and status where they are named."""
    which: dict[str, str] = {}
    if service:
        which["service"] = service_name(service)
    if commit:
        which["commit_sha"] = commit_sha(commit)
    return await artifact_queries.builds(parts, which, status, after, limit)


@get("/v1/builds/{build:int}", guards=PEOPLE)
async def build_detail(
    build: FromPath[int], parts: PartsHere, wait_s: FromQuery[float] = 0.0, seen: FromQuery[str] = ""
) -> BuildDetail:
    """One build, as soon as its version is not ``seen``; unchanged when the wait is over."""
    wanted = build_id(build)

    async def look() -> BuildDetail | None:
        detail = await artifact_queries.build_detail(parts, wanted)
        return detail if detail.version != seen else None

    changed = await hold(parts.news, look, wait_s=held_s(wait_s, DEPLOYMENT_WAIT_S_MAX), poll_s=DEPLOYMENT_LOOK_INTERVAL_S)
    return changed or await artifact_queries.build_detail(parts, wanted)


@get("/v1/builds/{build:int}/log", guards=PEOPLE)
async def build_log(
    request: Request[Any, Any, Any],
    build: FromPath[int],
    parts: PartsHere,
    offset: FromQuery[int] = 0,
    last_event_id: LastEventId = None,
) -> BuildLog | EventStream:
    """From a byte on, a negative one counted from the end. As a stream (``Accept: text/event-stream``) to its end;
    ``Last-Event-ID`` goes before ``offset``."""
    wanted = build_id(build)
    if wants_stream(request):
        source = LogSource(parts, wanted, log_offset(last_event_id, offset))
        return parts.streams.of(source, parts.logged.of(wanted))
    return await parts.logs.read(wanted, log_offset(None, offset))


@get("/v1/artifacts", guards=PEOPLE)
async def artifacts(
    parts: PartsHere, service: FromQuery[str] = "", after: FromQuery[str] = "", limit: FromQuery[int] = PAGE_ITEMS
) -> ArtifactPage:
    """Newest first, of one service where it is named."""
    return await artifact_queries.artifact_page(parts, service_name(service) if service else None, after, limit)


@get("/v1/artifacts/{service:str}/{commit:str}", guards=PEOPLE)
async def artifact(service: FromPath[str], commit: FromPath[str], parts: PartsHere) -> ArtifactDetail:
    """By name: ``<service>/<commit>``, with ``.2`` and so on for rebuilds."""
    return await queries.artifact_detail(parts, _name(service, commit))


@post("/v1/artifacts/{service:str}/{commit:str}/source", status_code=200, guards=PEOPLE)
async def artifact_source(service: FromPath[str], commit: FromPath[str], parts: PartsHere) -> SourceGrants:
    """Read grants on the main store's copy, for a person to take it out or to look at it."""
    digest = await artifact_queries.digest_of(parts, _name(service, commit))
    return await artifact_queries.source_of(parts, digest)


@get("/v1/services/{name:str}/commits", guards=PEOPLE)
async def commits(
    name: FromPath[str],
    parts: PartsHere,
    prefix: FromQuery[str] = "",
    after: FromQuery[str] = "",
    limit: FromQuery[int] = PAGE_ITEMS,
) -> CommitPage:
    """What was built or deployed of a service, by SHA: to find the commit that a few digits mean."""
    return await artifact_queries.commits(parts, service_name(name), prefix, after, limit)


def _name(service: str, commit: str) -> ArtifactName:
    sha, _, number = commit.partition(".")
    if number and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise Invalid(
            "illegal_artifact", f"{service}/{commit} is no artifact's name: use <service>/<commit> or <service>/<commit>.2"
        )
    return artifact_name(service_name(service), commit_sha(sha), int(number or 1))


HANDLERS = (build, builds, build_detail, build_log, artifacts, artifact, artifact_source, commits)
