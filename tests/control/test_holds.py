"""Freezes and approvals through the API, and on the command line: who said what."""

from __future__ import annotations

from typing import Any

import pytest

from fleetcast.client.control import ControlClient
from fleetcast.http.tokens import Role, TokenSet, load_or_create
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import NotFound, Refused, Unprocessable
from fleetcast.model.freeze import Freeze
from fleetcast.model.ids import CommitSha, ServiceName
from fleetcast.model.messages.deployments import DeployRequest, PreviewRequest
from fleetcast.model.messages.freezes import FreezeOrder
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.plan import Policy

pytestmark = pytest.mark.one_engine

WEB, A = ServiceName("web"), CommitSha("a" * 40)
ENDLESS = Freeze("migration", ends="2099-01-01")


async def test_a_freeze_of_the_company(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await installation.region()
        await admin.put_service(ServiceSpec(WEB, "/repo"))
        added = await admin.put_freeze(FreezeOrder("all", ENDLESS))
        assert (added.by, added.in_force, added.services) == ("admin", True, ())
        assert (await admin.freezes()).items == (added,)
        said = "frozen until 2099-01-01 00:00 UTC (migration)"
        assert (await admin.preview(PreviewRequest(WEB))).held == said
        with pytest.raises(Unprocessable, match="freeze 1: it never ends"):
            await admin.put_freeze(FreezeOrder("all", Freeze("x")))
        with pytest.raises(Unprocessable, match="does not know the time zone Moon"):
            await admin.put_service(
                ServiceSpec(WEB, "/repo", plan=Policy(freezes=(Freeze("x", hours="09:00-10:00", zone="Moon"),)))
            )
        assert (await admin.remove_freeze("all")).name == "all"
        with pytest.raises(NotFound, match="there is no freeze 'all'"):
            await admin.remove_freeze("all")
        assert (await admin.preview(PreviewRequest(WEB))).held == ""


async def test_whoever_the_token_is_of_has_approved_or_refused(control: Any, tmp_path: Any) -> None:
    tokens = TokenSet({role: load_or_create(tmp_path, role) for role in Role}, {"alice": "a", "bob": "b"})
    async with control(tokens=tokens) as installation:
        admin = await installation.client(Role.ADMIN)
        alice, bob = [
            await installation.opened.enter_async_context(ControlClient(installation.addresses["api"], token)) for token in "ab"
        ]
        await installation.region()
        await admin.put_service(ServiceSpec(WEB, "/repo", plan=Policy(approvals=1)))
        deployment = await alice.deploy(DeployRequest(WEB, A, plan=Policy()))
        assert deployment.by == "alice"
        with pytest.raises(Refused, match="alice triggered deployment"):
            await alice.approve(deployment.id)
        assert (await bob.approve(deployment.id)).state is DeploymentState.BUILDING
        refused = await bob.refuse(deployment.id, "not today")
        assert (refused.state, refused.reason[:26]) == (DeploymentState.ABORTED, "refused by bob (not today)")
        told = [(event.kind, event.text) for event in (await admin.event_page(service=WEB)).items]
        assert ("deployment.approved", "its first machine approved by bob: 1 of 1") in told
        assert ("deployment.refused", "its first machine refused by bob: not today") in told
