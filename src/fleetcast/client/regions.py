"""What a region asks of control."""

from __future__ import annotations

from fleetcast.http.session import Session
from fleetcast.model.ids import Digest
from fleetcast.model.limits import HTTP_TIMEOUT_S
from fleetcast.model.messages.regions import (
    KvPage,
    MachineAnswered,
    RegionHello,
    RegionReport,
    ReportAccepted,
    SourceGrants,
    Surplus,
    SurplusJudged,
)


class Regions:
    """Calls that take a region's token."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def hello(self, hello: RegionHello) -> ReportAccepted:
        """At every start: who this region is, and how control can look into its bucket."""
        return await self._session.ask("POST", f"/v1/regions/{hello.region}/hello", hello, reply=ReportAccepted)

    async def report(self, report: RegionReport) -> ReportAccepted:
        """Everything the region knows, every few seconds."""
        return await self._session.ask("POST", f"/v1/regions/{report.region}/report", report, reply=ReportAccepted)

    async def answer(self, answered: MachineAnswered) -> ReportAccepted:
        """What is known of a machine that control asked for."""
        return await self._session.ask("POST", f"/v1/regions/{answered.region}/answers", answered, reply=ReportAccepted)

    async def kv_page(self, prefix: str, after: int, wait_s: float = 0.0) -> KvPage:
        """What changed in the global KV under ``prefix`` after a revision (0: everything), waiting up to ``wait_s``."""
        return await self._session.ask(
            "GET",
            "/v1/kv",
            params={"prefix": prefix, "after": after, "wait_s": wait_s},
            reply=KvPage,
            timeout_s=HTTP_TIMEOUT_S + wait_s,
        )

    async def surplus(self, surplus: Surplus) -> SurplusJudged:
        """Which of the copies without a record may be deleted. Asking also says that those of before are."""
        return await self._session.ask("POST", f"/v1/regions/{surplus.region}/surplus", surplus, reply=SurplusJudged)

    async def source_grants(self, digest: Digest) -> SourceGrants:
        """Read grants on the main store's copy of an artifact. Raises :class:`NotFound`."""
        return await self._session.ask("POST", f"/v1/artifacts/{digest}/source", reply=SourceGrants)
