"""What a worker asks of control. Every call but the claim names the attempt's token; a stale one raises :class:`Stale`."""

from __future__ import annotations

from fleetcast.http.session import Session
from fleetcast.model.ids import BuildId, Token
from fleetcast.model.limits import CLAIM_WAIT_S_MAX, HTTP_TIMEOUT_S
from fleetcast.model.messages.builds import (
    Blob,
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


class Builds:
    """Calls that take a worker's token."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def claim(self, worker: str, wait_s: float = CLAIM_WAIT_S_MAX) -> ClaimedBuild | None:
        """The oldest queued build, waiting up to ``wait_s`` for one; ``None``: there was none."""
        return await self._session.call(
            "POST", "/v1/builds/claim", ClaimRequest(worker, wait_s), reply=ClaimedBuild, timeout_s=HTTP_TIMEOUT_S + wait_s
        )

    async def heartbeat(self, build: BuildId, token: Token) -> BuildAccepted:
        """Say that the attempt is alive."""
        return await self._session.ask("POST", f"/v1/builds/{build}/heartbeat", Heartbeat(token), reply=BuildAccepted)

    async def watch(self, build: BuildId, token: Token, wait_s: float = CLAIM_WAIT_S_MAX) -> BuildAccepted:
        """Wait up to ``wait_s`` for the attempt to be void, which raises :class:`Stale`, or done. Raises :class:`NotFound`
        from a control that is too old to tell."""
        body = WatchRequest(token, wait_s)
        path = f"/v1/builds/{build}/watch"
        return await self._session.ask("POST", path, body, reply=BuildAccepted, timeout_s=HTTP_TIMEOUT_S + wait_s)

    async def append_log(self, build: BuildId, token: Token, offset: int, text: str) -> BuildAccepted:
        """Add to the log from byte ``offset`` on; safe to repeat."""
        body = LogAppend(token, offset, text)
        return await self._session.ask("POST", f"/v1/builds/{build}/log", body, reply=BuildAccepted)

    async def open_upload(self, build: BuildId, token: Token, blob: Blob) -> UploadOpened:
        """Open the upload of ``content`` or ``manifest``."""
        return await self._session.ask("POST", f"/v1/builds/{build}/uploads", UploadRequest(token, blob), reply=UploadOpened)

    async def part_grants(self, build: BuildId, token: Token, upload: str, first: int, count: int) -> PartGrants:
        """URLs for the parts ``first .. first + count - 1``."""
        body = PartGrantRequest(token, first, count)
        return await self._session.ask("POST", f"/v1/builds/{build}/uploads/{upload}/parts", body, reply=PartGrants)

    async def commit(self, build: BuildId, request: CommitRequest, *, timeout_s: float = 4 * HTTP_TIMEOUT_S) -> BuildAccepted:
        """End the build SUCCEEDED with what was uploaded; safe to repeat. It waits for the store to make 10 GB durable."""
        path = f"/v1/builds/{build}/commit"
        return await self._session.ask("POST", path, request, reply=BuildAccepted, timeout_s=timeout_s)

    async def fail(self, build: BuildId, token: Token, reason: str, *, hand_back: bool = False) -> BuildAccepted:
        """End the build FAILED, or hand it back to the queue."""
        body = FailRequest(token, reason, hand_back)
        return await self._session.ask("POST", f"/v1/builds/{build}/fail", body, reply=BuildAccepted)
