"""Worker to control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from fleetcast.model.build import Recipe
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, ServiceName, Token
from fleetcast.model.limits import BLOB_PARTS_MAX, BUILD_GRANTS_MAX, WORKER_NAME_CHARS_MAX
from fleetcast.model.messages.grants import Grant, PartReceipt
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.spelling import Natural, Spelling

UPLOAD: Final = Spelling(r"(content|manifest)\.[0-9A-Za-z._~-]+")
"""An upload's id: what it is for, and the id that the store gave it."""
Blob: TypeAlias = Literal["content", "manifest"]


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """``POST /v1/builds/claim``: held up to ``wait_s``; 204 when there was nothing."""

    worker: Annotated[str, Meta(min_length=1, max_length=WORKER_NAME_CHARS_MAX)]
    wait_s: Annotated[float, Meta(ge=0)]
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class ClaimedBuild:
    """Everything a worker needs for one attempt. Every later call names ``build`` and ``token``."""

    build: BuildId
    token: Token
    attempt: Natural
    name: ArtifactName
    service: ServiceName
    commit_sha: CommitSha
    repository: str
    """A path or URL that ``git clone`` takes."""
    trunk: str
    """The branch the commit must be on; empty: any commit will do."""
    recipe: Recipe
    """Wins over the commit's ``fleetcast.toml``."""
    heartbeat_interval_s: float
    command_s_max: float
    pack_upload_s_max: float
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """``POST /v1/builds/{build}/heartbeat``. Refused as stale: stop the build."""

    token: Token
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """``POST /v1/builds/{build}/watch``: held up to ``wait_s``, and refused as stale the moment the build is not wanted any
    more or somebody else's. No heartbeat."""

    token: Token
    wait_s: Annotated[float, Meta(ge=0)]
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class LogAppend:
    """``POST /v1/builds/{build}/log``: bytes of the log from ``offset`` on, as UTF-8 text with undecodable bytes replaced.

    ``offset`` counts UTF-8 bytes; what is known already is ignored, so that a call may be repeated.
    """

    token: Token
    offset: Natural
    text: str
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """``POST /v1/builds/{build}/uploads``: opens the upload of ``content`` or ``manifest`` of this attempt."""

    token: Token
    blob: Blob
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class UploadOpened:
    upload: Annotated[str, UPLOAD.meta]
    part_bytes: Natural
    """Size of every part but the last."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class PartGrantRequest:
    """``POST /v1/builds/{build}/uploads/{upload}/parts``: URLs for parts ``first .. first + count - 1``."""

    token: Token
    first: Annotated[int, Meta(ge=1, le=BLOB_PARTS_MAX)]
    count: Annotated[int, Meta(ge=1, le=BUILD_GRANTS_MAX)]
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class PartGrants:
    grants: tuple[Grant, ...]
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class FinishedUpload:
    upload: Annotated[str, UPLOAD.meta]
    parts: tuple[PartReceipt, ...]


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """``POST /v1/builds/{build}/commit``: completes both uploads, records the artifact, ends the build SUCCEEDED.

    One call, safe to repeat with the same token: the row it writes decides which attempt counts.
    """

    token: Token
    envelope: str
    """The DSSE envelope of the root, JSON text."""
    content: FinishedUpload
    manifest: FinishedUpload
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class FailRequest:
    """``POST /v1/builds/{build}/fail``: ends the build FAILED, or hands it back to the queue."""

    token: Token
    reason: str
    hand_back: bool = False
    """True: not the build's fault (the worker is stopping, the infrastructure failed): QUEUED again, if attempts are left."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class BuildAccepted:
    """Answer to heartbeat, log, commit and fail: the token is still the build's."""

    build: BuildId
    status: str
    protocol: Protocol = PROTOCOL
