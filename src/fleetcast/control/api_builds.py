"""The API for workers. Every call but the claim names the attempt's token; a stale one is answered 409 ``stale_token``."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.params import JSONBody, PathParameter

from fleetcast.builds.queue import Claim
from fleetcast.control.audiences import WORKERS
from fleetcast.control.config import ControlConfig
from fleetcast.control.parts import PartsHere
from fleetcast.http.holding import caller_gone, held_s, hold
from fleetcast.http.parameters import BuildInPath
from fleetcast.model.build import BuildStatus
from fleetcast.model.errors import Invalid, NotFound, Stale, Unprocessable
from fleetcast.model.ids import build_id
from fleetcast.model.limits import CLAIM_WAIT_S_MAX
from fleetcast.model.messages.builds import (
    UPLOAD,
    BuildAccepted,
    ClaimedBuild,
    ClaimRequest,
    CommitRequest,
    FailRequest,
    Heartbeat,
    LogAppend,
    PartGrantRequest,
    PartGrants,
    UploadOpened,
    UploadRequest,
    WatchRequest,
)


@post("/v1/builds/claim", status_code=200, guards=WORKERS)
async def claim_build(
    data: JSONBody[ClaimRequest], request: Request[Any, Any, Any], parts: PartsHere
) -> Response[ClaimedBuild] | Response[None]:
    """The first build in line, as soon as there is one; 204 when the wait is over."""
    async with caller_gone(request.receive) as gone:
        with parts.queue.asking():
            # A loop of control looks for all who wait.
            claimed = await parts.queued.hold(
                lambda: parts.queue.claim(data.worker), wait_s=held_s(data.wait_s, CLAIM_WAIT_S_MAX), abandoned=gone
            )
        if claimed is not None and gone():
            # Left while the claim was written. Who leaves after this look is found by the reaper.
            await parts.queue.fail(claimed.build.id, claimed.token, "the worker left while it claimed", hand_back=True)
            claimed = None
    if claimed is None:
        return Response(None, status_code=204)
    parts.news.ring()
    return Response(_claimed(claimed, parts.config))


@post("/v1/builds/{build:int}/heartbeat", status_code=200, guards=WORKERS, errors=(NotFound, Stale))
async def heartbeat(build: BuildInPath, data: JSONBody[Heartbeat], parts: PartsHere) -> BuildAccepted:
    """Say that the attempt is alive."""
    await parts.queue.heartbeat(build_id(build), data.token)
    return BuildAccepted(build_id(build), BuildStatus.RUNNING)


@post("/v1/builds/{build:int}/watch", status_code=200, guards=WORKERS, errors=(NotFound, Stale))
async def watch_build(
    build: BuildInPath, data: JSONBody[WatchRequest], request: Request[Any, Any, Any], parts: PartsHere
) -> BuildAccepted:
    """Wait until the attempt need not go on.

    RUNNING: it must when the wait is over. SUCCEEDED: its commit was taken. Refused as stale: nobody wants it any more.
    """
    wanted = build_id(build)

    async def look() -> BuildStatus | None:
        status = await parts.queue.standing(wanted, data.token)
        return None if status is BuildStatus.RUNNING else status

    # The build's own bell, not the news: a fleet of workers need not look at whatever happens anywhere.
    async with caller_gone(request.receive) as gone:
        ended = await hold(
            parts.logged.of(wanted),
            look,
            wait_s=held_s(data.wait_s, CLAIM_WAIT_S_MAX),
            poll_s=parts.config.claim_poll_interval_s,
            abandoned=gone,
        )
    return BuildAccepted(wanted, ended or BuildStatus.RUNNING)


@post("/v1/builds/{build:int}/log", status_code=200, guards=WORKERS, errors=(NotFound, Stale, Unprocessable))
async def append_log(build: BuildInPath, data: JSONBody[LogAppend], parts: PartsHere) -> BuildAccepted:
    """Add to the build's log; safe to repeat."""
    await parts.logs.append(build_id(build), data.token, data.offset, data.text)
    parts.logged.ring(build_id(build))
    return BuildAccepted(build_id(build), BuildStatus.RUNNING)


@post("/v1/builds/{build:int}/uploads", status_code=201, guards=WORKERS, errors=(Stale,))
async def open_upload(build: BuildInPath, data: JSONBody[UploadRequest], parts: PartsHere) -> UploadOpened:
    """Open the upload of the content or of the manifest."""
    return await parts.uploads.open(build_id(build), data.token, data.blob)


@post(
    "/v1/builds/{build:int}/uploads/{upload:str}/parts",
    status_code=200,
    guards=WORKERS,
    errors=(NotFound, Stale, Unprocessable),
)
async def grant_parts(
    build: BuildInPath,
    upload: Annotated[str, PathParameter(schema_extra=UPLOAD.schema, description="An upload's id.")],
    data: JSONBody[PartGrantRequest],
    parts: PartsHere,
) -> PartGrants:
    """URLs to send parts of an upload to."""
    if not UPLOAD.fits(upload):
        raise Invalid("illegal_upload", f"{upload!r} is no upload that was opened here")
    return await parts.uploads.grants(build_id(build), data.token, upload, data.first, data.count)


@post("/v1/builds/{build:int}/commit", status_code=200, guards=WORKERS, errors=(NotFound, Stale, Unprocessable))
async def commit_build(build: BuildInPath, data: JSONBody[CommitRequest], parts: PartsHere) -> BuildAccepted:
    """End the build SUCCEEDED with what was uploaded; safe to repeat."""
    status = await parts.uploads.commit(build_id(build), data.token, data)
    parts.stir(ended=build_id(build))
    return BuildAccepted(build_id(build), status)


@post("/v1/builds/{build:int}/fail", status_code=200, guards=WORKERS, errors=(NotFound, Stale))
async def fail_build(build: BuildInPath, data: JSONBody[FailRequest], parts: PartsHere) -> BuildAccepted:
    """End the build FAILED, or hand it back to the queue."""
    status = await parts.queue.fail(build_id(build), data.token, data.reason, hand_back=data.hand_back)
    parts.stir(ended=build_id(build))
    return BuildAccepted(build_id(build), status)


def _claimed(claimed: Claim, config: ControlConfig) -> ClaimedBuild:
    build = claimed.build
    return ClaimedBuild(
        build=build.id,
        token=claimed.token,
        attempt=build.attempt,
        name=build.name,
        service=build.service,
        commit_sha=build.commit_sha,
        repository=claimed.repository,
        trunk=claimed.trunk,
        recipe=claimed.recipe,
        heartbeat_interval_s=config.heartbeat_interval_s,
        command_s_max=config.build_command_s_max,
        pack_upload_s_max=config.build_pack_upload_s_max,
    )


HANDLERS = (claim_build, heartbeat, watch_build, append_log, open_upload, grant_parts, commit_build, fail_build)
