"""The API for people: builds, their logs, and what they made."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import Request, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from fleetcast.control import artifact_queries, queries, replicating
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import PartsHere
from fleetcast.control.streams import LogSource, log_offset
from fleetcast.http.parameters import (
    After,
    BuildInPath,
    IdempotencyKey,
    LastEventId,
    Limit,
    OfService,
    Seen,
    ServiceInPath,
    WaitS,
    chosen,
)
from fleetcast.http.sse import EventStream, wants_stream
from fleetcast.model.build import Build, BuildStatus
from fleetcast.model.errors import Invalid, KeyReused, NotFound, Refused, Unprocessable
from fleetcast.model.ids import SHA, ArtifactName, artifact_name, build_id, commit_sha, region_name, service_name
from fleetcast.model.limits import PAGE_ITEMS
from fleetcast.model.messages.artifacts import (
    ArtifactDetail,
    ArtifactPage,
    BuildDetail,
    BuildLog,
    BuildPage,
    BuildRequest,
    CommitPage,
    ReplicateRequest,
    Replicating,
)
from fleetcast.model.messages.regions import SourceGrants
from fleetcast.model.spelling import Spelling
from fleetcast.schema.idempotency import request_key

ARTIFACT: Final = Spelling(r"[0-9a-f]{40}([0-9a-f]{24})?(\.[1-9][0-9]{0,8})?")
"""What follows the service in an artifact's name."""
STATUS: Final = {"enum": list(BuildStatus)}
ArtifactInPath = Annotated[
    str, PathParameter(schema_extra=ARTIFACT.schema, description="The commit's SHA, with `.2` and so on for rebuilds.")
]


@post("/v1/builds", status_code=201, guards=PEOPLE, errors=(NotFound, Refused, KeyReused))
async def order_build(data: JSONBody[BuildRequest], parts: PartsHere, idempotency_key: IdempotencyKey = None) -> Build:
    """Build a commit without deploying it.

    The answer is the build that makes, or made, the commit's artifact: a new one only where there is none to share.
    """
    service_name(data.service)
    commit_sha(data.commit_sha)
    return await parts.queue.get(await parts.triggers.build(data, request_key("build", idempotency_key, data)))


@post("/v1/builds/{build:int}/abort", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def abort_build(build: BuildInPath, parts: PartsHere) -> Build:
    """End a build. It has FAILED, and so have the deployments that wait for it."""
    aborted = await parts.queue.abort(build_id(build))
    parts.stir(ended=aborted.id)
    return aborted


@get("/v1/builds", guards=PEOPLE, errors=(NotFound, Unprocessable))
async def list_builds(
    parts: PartsHere,
    service: OfService = None,
    commit: Annotated[str | None, QueryParameter(schema_extra=SHA.schema, description="Those of one commit only.")] = None,
    in_status: Annotated[
        str | None, QueryParameter(name="status", schema_extra=STATUS, description="Those in one status only.")
    ] = None,
    after: After = "",
    limit: Limit = PAGE_ITEMS,
) -> BuildPage:
    """Builds, newest first."""
    wanted = artifact_queries.WantedBuilds(
        None if service is None else service_name(service),
        None if commit is None else commit_sha(commit),
        chosen(BuildStatus, in_status),
    )
    return await artifact_queries.build_page(parts, wanted, after, limit)


@get("/v1/builds/{build:int}", guards=PEOPLE, errors=(NotFound,))
async def get_build(build: BuildInPath, parts: PartsHere, wait_s: WaitS = 0.0, seen: Seen = "") -> BuildDetail:
    """One build, as soon as its version is not ``seen``; unchanged when the wait is over."""
    wanted = build_id(build)
    return await parts.unseen(lambda: artifact_queries.build_detail(parts, wanted), seen, wait_s)


@get(
    "/v1/builds/{build:int}/log",
    guards=PEOPLE,
    errors=(NotFound, Unprocessable),
    stream="`data`: text of the log, `id`: the offset behind it. The last event is `end`, its `data` the build's status.",
)
async def read_build_log(
    request: Request[Any, Any, Any],
    build: BuildInPath,
    parts: PartsHere,
    offset: Annotated[int, QueryParameter(description="In bytes; negative: so many before the end.")] = 0,
    last_event_id: LastEventId = None,
) -> BuildLog | EventStream:
    """A build's log, from a byte on, a negative one counted from the end.

    As a stream (``Accept: text/event-stream``) to its end; ``Last-Event-ID`` goes before ``offset``.
    """
    wanted = build_id(build)
    if wants_stream(request):
        source = LogSource(parts, wanted, log_offset(last_event_id, offset))
        return parts.streams.of(source, parts.logged.of(wanted))
    return await parts.logs.read(wanted, log_offset(None, offset))


@get("/v1/artifacts", guards=PEOPLE, errors=(NotFound, Unprocessable))
async def list_artifacts(
    parts: PartsHere, service: OfService = None, after: After = "", limit: Limit = PAGE_ITEMS
) -> ArtifactPage:
    """Artifacts, newest first."""
    named = None if service is None else service_name(service)
    return await artifact_queries.artifact_page(parts, named, after, limit)


@get("/v1/artifacts/{service:str}/{commit:str}", guards=PEOPLE, errors=(NotFound,))
async def get_artifact(service: ServiceInPath, commit: ArtifactInPath, parts: PartsHere) -> ArtifactDetail:
    """One artifact, with its signed root and where its copies are."""
    return await queries.artifact_detail(parts, name_of(service, commit))


@post("/v1/artifacts/{service:str}/{commit:str}/source", status_code=200, guards=PEOPLE, errors=(NotFound,))
async def grant_artifact(service: ServiceInPath, commit: ArtifactInPath, parts: PartsHere) -> SourceGrants:
    """Read grants on the main store's copy, for a person to take it out or to look at it."""
    digest = await artifact_queries.digest_of(parts, name_of(service, commit))
    return await artifact_queries.source_of(parts, digest)


@post("/v1/artifacts/{service:str}/{commit:str}/replicate", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def replicate_artifact(
    service: ServiceInPath, commit: ArtifactInPath, data: JSONBody[ReplicateRequest], parts: PartsHere
) -> Replicating:
    """Have regions attempt to copy an artifact now, also where that has FAILED.

    What is complete is looked at again and left alone.
    """
    wanted = tuple(map(region_name, data.regions))
    return await replicating.replicate(parts.database, name_of(service, commit), wanted)


@get("/v1/services/{name:str}/commits", guards=PEOPLE, errors=(NotFound, Unprocessable))
async def list_commits(
    name: ServiceInPath,
    parts: PartsHere,
    prefix: Annotated[str, QueryParameter(pattern=r"^[0-9a-f]{0,64}$", description="What the SHA begins with.")] = "",
    after: After = "",
    limit: Limit = PAGE_ITEMS,
) -> CommitPage:
    """What was built or deployed of a service, by SHA: to find the commit that a few digits mean."""
    return await artifact_queries.commit_page(parts, service_name(name), prefix, after, limit)


def name_of(service: str, commit: str) -> ArtifactName:
    """Of the two parts of a path. Raises :class:`Invalid`."""
    named = service_name(service)
    if not ARTIFACT.fits(commit):
        raise Invalid(
            "illegal_artifact", f"{service}/{commit} is no artifact's name: use <service>/<commit> or <service>/<commit>.2"
        )
    sha, _, number = commit.partition(".")
    return artifact_name(named, commit_sha(sha), int(number or 1))


HANDLERS = (
    order_build,
    abort_build,
    list_builds,
    get_build,
    read_build_log,
    list_artifacts,
    get_artifact,
    grant_artifact,
    replicate_artifact,
    list_commits,
)
