"""The API for people: builds, their logs, and what they made."""

from __future__ import annotations

from litestar import get
from litestar.params import FromPath, FromQuery

from fleetcast.control import queries
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import PartsHere
from fleetcast.model.errors import Invalid
from fleetcast.model.ids import artifact_name, build_id, commit_sha, service_name
from fleetcast.model.limits import BUILD_LOG_BYTES_MAX
from fleetcast.model.messages.artifacts import ArtifactDetail, BuildLog


@get("/v1/builds/{build:int}/log", guards=PEOPLE)
async def build_log(build: FromPath[int], parts: PartsHere, offset: FromQuery[int] = 0) -> BuildLog:
    return await parts.logs.read(build_id(build), min(max(0, offset), BUILD_LOG_BYTES_MAX))


@get("/v1/artifacts/{service:str}/{commit:str}", guards=PEOPLE)
async def artifact(service: FromPath[str], commit: FromPath[str], parts: PartsHere) -> ArtifactDetail:
    """By name: ``<service>/<commit>``, with ``.2`` and so on for rebuilds."""
    sha, _, number = commit.partition(".")
    if number and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise Invalid(
            "illegal_artifact", f"{service}/{commit} is no artifact's name: use <service>/<commit> or <service>/<commit>.2"
        )
    name = artifact_name(service_name(service), commit_sha(sha), int(number or 1))
    return await queries.artifact_detail(parts, name)


HANDLERS = (build_log, artifact)
