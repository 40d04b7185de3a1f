"""What people ask of control about builds and what they made."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from fleetcast.client.following import resumed, trigger_once
from fleetcast.client.pages import every, stated
from fleetcast.http import messages
from fleetcast.http.session import Session
from fleetcast.model.build import Build, BuildStatus
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, RegionName, ServiceName
from fleetcast.model.limits import HTTP_TIMEOUT_S, PAGE_ITEMS, PAGE_ITEMS_MAX
from fleetcast.model.messages.artifacts import (
    Artifact,
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


class Artifacts:
    """Calls that take an admin's token. Errors are those of :class:`Session` and of each operation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def order_build(self, request: BuildRequest, *, key: str | None = None) -> Build:
        """Have a commit built; answered at once, with the build that makes or made its artifact.

        Sent again when its answer was lost, and triggered once all the same; ``key`` as for a deployment. Raises
        :class:`NotFound` for an unknown service, :class:`Refused` when there is an artifact or a build on other terms.
        """
        return await trigger_once(
            lambda headers: self._session.ask("POST", "/v1/builds", request, headers=headers, reply=Build), key
        )

    async def build(self, build: BuildId, *, wait_s: float = 0.0, seen: str = "") -> BuildDetail:
        """One build; with ``wait_s``, held until its version differs from ``seen``. Raises :class:`NotFound`."""
        return await self._session.ask(
            "GET",
            f"/v1/builds/{build}",
            params={"wait_s": wait_s, "seen": seen},
            reply=BuildDetail,
            timeout_s=HTTP_TIMEOUT_S + wait_s,
        )

    async def abort_build(self, build: BuildId) -> Build:
        """End a build, and with it the deployments that wait for it. Raises :class:`NotFound`, :class:`Refused` when it has
        ended."""
        return await self._session.ask("POST", f"/v1/builds/{build}/abort", reply=Build)

    async def build_page(
        self,
        *,
        service: ServiceName | None = None,
        commit: CommitSha | None = None,
        status: BuildStatus | None = None,
        after: str = "",
        limit: int = PAGE_ITEMS,
    ) -> BuildPage:
        """Builds, newest first; go on from ``next``. Raises :class:`NotFound` for a service that never was."""
        params = stated(service=service, commit=commit, status=status, after=after, limit=limit)
        return await self._session.ask("GET", "/v1/builds", params=params, reply=BuildPage)

    def builds(
        self, *, service: ServiceName | None = None, commit: CommitSha | None = None, status: BuildStatus | None = None
    ) -> AsyncIterator[Build]:
        """All builds, newest first. Raises :class:`NotFound` for a service that never was."""
        return every(
            lambda after: self.build_page(service=service, commit=commit, status=status, after=after, limit=PAGE_ITEMS_MAX)
        )

    async def build_log(self, build: BuildId, offset: int = 0) -> BuildLog:
        """The log from byte ``offset`` on, as far as one answer goes; ask again from ``next_offset`` until ``finished``.

        A negative offset counts from the end.
        """
        return await self._session.ask("GET", f"/v1/builds/{build}/log", params={"offset": offset}, reply=BuildLog)

    async def follow_build_log(self, build: BuildId, offset: int = 0) -> AsyncGenerator[BuildLog, None]:
        """The log as it grows, from byte ``offset`` to its end; the last one is ``finished``. Carriage returns are line feeds.

        Resumed where it broke; close it (``contextlib.aclosing``) to leave earlier. Raises :class:`NotFound`, and
        :class:`Unavailable` when control is away for too long.
        """
        path = f"/v1/builds/{build}/log"
        async with contextlib.aclosing(resumed(self._session, path, {"offset": offset})) as told:
            async for event in told:
                ended = event.event == messages.END
                next_offset = int(event.id)
                yield BuildLog(offset, "" if ended else event.data, next_offset, finished=ended)
                offset = next_offset

    async def artifact_page(
        self, *, service: ServiceName | None = None, after: str = "", limit: int = PAGE_ITEMS
    ) -> ArtifactPage:
        """Artifacts, newest first; go on from ``next``. Raises :class:`NotFound` for a service that never was."""
        params = stated(service=service, after=after, limit=limit)
        return await self._session.ask("GET", "/v1/artifacts", params=params, reply=ArtifactPage)

    def artifacts(self, *, service: ServiceName | None = None) -> AsyncIterator[Artifact]:
        """All artifacts, newest first. Raises :class:`NotFound` for a service that never was."""
        return every(lambda after: self.artifact_page(service=service, after=after, limit=PAGE_ITEMS_MAX))

    async def artifact(self, name: ArtifactName) -> ArtifactDetail:
        """An artifact by its name, ``<service>/<commit>``. Raises :class:`NotFound`."""
        return await self._session.ask("GET", f"/v1/artifacts/{name}", reply=ArtifactDetail)

    async def replicate(self, name: ArtifactName, regions: Sequence[RegionName] = ()) -> Replicating:
        """Have these regions, or all that no person has drained, attempt to copy it now.

        Raises :class:`NotFound`, and :class:`Refused` where no deployment ever wanted it."""
        request = ReplicateRequest(tuple(regions))
        return await self._session.ask("POST", f"/v1/artifacts/{name}/replicate", request, reply=Replicating)

    async def artifact_source(self, name: ArtifactName) -> SourceGrants:
        """Read grants on the main store's copy of an artifact. Raises :class:`NotFound`."""
        return await self._session.ask("POST", f"/v1/artifacts/{name}/source", reply=SourceGrants)

    async def commit_page(
        self, service: ServiceName, *, prefix: str = "", after: str = "", limit: int = PAGE_ITEMS
    ) -> CommitPage:
        """Commits that were built or deployed, by SHA; go on from ``next``.

        Raises :class:`NotFound` for a service that never was.
        """
        params = stated(prefix=prefix, after=after, limit=limit)
        return await self._session.ask("GET", f"/v1/services/{service}/commits", params=params, reply=CommitPage)

    def commits(self, service: ServiceName, *, prefix: str = "") -> AsyncIterator[CommitSha]:
        """All of them. Raises :class:`NotFound` for a service that never was."""
        return every(lambda after: self.commit_page(service, prefix=prefix, after=after, limit=PAGE_ITEMS_MAX))
