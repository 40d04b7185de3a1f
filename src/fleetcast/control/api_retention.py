"""The API for people: what is kept of artifacts, and what is collected."""

from __future__ import annotations

from collections.abc import Iterable

from litestar import get, post

from fleetcast.control import queries
from fleetcast.control.api_artifacts import ArtifactInPath, name_of
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import Parts, PartsHere
from fleetcast.http.cursors import page, place
from fleetcast.http.parameters import After, Limit, ServiceInPath
from fleetcast.model.errors import NotFound, Refused, Unprocessable
from fleetcast.model.ids import ArtifactName
from fleetcast.model.limits import PAGE_ITEMS
from fleetcast.model.messages.artifacts import ArtifactDetail
from fleetcast.model.messages.retention import Collected, RetentionItem, RetentionPage, TierVerdict
from fleetcast.retention.pins import pin
from fleetcast.retention.planning import Planned


@get("/v1/retention", guards=PEOPLE, errors=(Unprocessable,))
async def plan_retention(parts: PartsHere, after: After = "", limit: Limit = PAGE_ITEMS) -> RetentionPage:
    """What would be collected now and why, and why everything else stays; by name."""
    behind = place(after, str)
    planned = sorted(await parts.collector.plan(), key=_name)
    found = [each for each in planned if behind is None or _name(each) > behind]
    shown, following = page(found, limit, _name)
    return RetentionPage(tuple(map(_item, shown)), following)


@post("/v1/retention/collect", status_code=200, guards=PEOPLE)
async def collect_artifacts(parts: PartsHere) -> Collected:
    """Collect now what would be collected at the next turn anyway."""
    decided = await parts.collector.decide()
    await parts.collector.finish()
    parts.stir()
    return Collected(_names(decided.main), _bytes(decided.main), _names(decided.regions), _bytes(decided.regions))


@post("/v1/artifacts/{service:str}/{commit:str}/pin", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def pin_artifact(service: ServiceInPath, commit: ArtifactInPath, parts: PartsHere) -> ArtifactDetail:
    """Never collect this artifact, nor its copies."""
    return await _pinned(parts, name_of(service, commit), pinned=True)


@post("/v1/artifacts/{service:str}/{commit:str}/unpin", status_code=200, guards=PEOPLE, errors=(NotFound,))
async def unpin_artifact(service: ServiceInPath, commit: ArtifactInPath, parts: PartsHere) -> ArtifactDetail:
    """Leave this artifact to the rules again."""
    return await _pinned(parts, name_of(service, commit), pinned=False)


async def _pinned(parts: Parts, name: ArtifactName, *, pinned: bool) -> ArtifactDetail:
    async with parts.database.transaction() as tx:
        await pin(tx, name, pinned=pinned)
    parts.news.ring()
    return await queries.artifact_detail(parts, name)


def _item(planned: Planned) -> RetentionItem:
    regions = planned.regions
    return RetentionItem(
        artifacts=planned.stored.names,
        digest=planned.stored.held.digest,
        bytes=planned.stored.held.size,
        used_at_ms=planned.stored.held.used_at_ms,
        main=TierVerdict(planned.main.collect, planned.main.reason),
        regions=None if regions is None else TierVerdict(regions.collect, regions.reason),
    )


def _name(planned: Planned) -> ArtifactName:
    return planned.stored.names[0]


def _names(planned: Iterable[Planned]) -> tuple[ArtifactName, ...]:
    return tuple(map(_name, planned))


def _bytes(planned: Iterable[Planned]) -> int:
    return sum(each.stored.held.size for each in planned)


HANDLERS = (plan_retention, collect_artifacts, pin_artifact, unpin_artifact)
