"""Who may do what, and what a stranger is told."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from fleetcast.control.app import HANDLERS
from fleetcast.http.tokens import Role, load_or_create
from fleetcast.model.build import Recipe
from fleetcast.model.errors import FleetcastError, Forbidden, Invalid, NotFound, Refused, Unauthorized
from fleetcast.model.ids import BuildId, CommitSha, DeploymentId, RegionName, ServiceName, Token
from fleetcast.model.limits import SERVICE_SPEC_BYTES_MAX
from fleetcast.model.machine import Selector
from fleetcast.model.messages.deployments import DeployRequest, RollbackRequest
from fleetcast.model.messages.regions import RegionHello, RegionReport
from fleetcast.model.messages.services import ServiceSpec

pytestmark = pytest.mark.one_engine

WEB, A = ServiceName("web"), CommitSha("a" * 40)
SPEC = ServiceSpec(WEB, "/srv/web.git", selector=Selector(labels={"tier": "front"}), max_unavailable=2)


async def test_every_role_opens_its_own_doors_only(control: Any) -> None:
    calls: dict[Role, Any] = {
        Role.ADMIN: lambda client: client.deploy(DeployRequest(WEB, A)),
        Role.WORKER: lambda client: client.claim("w1", wait_s=0),
        Role.REGION: lambda client: client.kv_page("", 0),
    }
    async with control() as installation:
        for role in Role:
            client = await installation.client(role)
            for owner, call in calls.items():
                try:
                    await call(client)
                    outcome: type[FleetcastError] | None = None
                except FleetcastError as error:
                    outcome = type(error)
                if role is owner:
                    assert outcome in (None, NotFound), f"{role} at the door of {owner}: {outcome}"
                else:
                    assert outcome is Forbidden, f"{role} at the door of {owner}: {outcome}"
        stranger = await installation.client(None)
        for call in calls.values():
            with pytest.raises(Unauthorized):
                await call(stranger)


async def test_no_route_is_open_to_strangers_or_agents(control: Any) -> None:
    """Every handler of the API, also one that is added tomorrow."""
    routes = [(handler, method) for handler in HANDLERS for method in handler.http_methods]
    assert len(routes) > 20
    async with control() as installation, httpx2.AsyncClient(base_url=installation.addresses["api"]) as http:
        agent = {"authorization": f"Bearer {load_or_create(installation.home, Role.AGENT)}"}
        for handler, method in routes:
            path = re.sub(r"{\w+:int}", "1", re.sub(r"{\w+:str}", "x", next(iter(handler.paths))))
            assert (await http.request(method, path)).status_code == 401, path
            assert (await http.request(method, path, headers=agent)).status_code == 403, path


async def test_the_document_of_the_api_names_every_route_to_everybody(control: Any) -> None:
    async with control() as installation, httpx2.AsyncClient(base_url=installation.addresses["api"]) as http:
        answer = await http.get("/v1/openapi.json")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/vnd.oai.openapi+json")
        document = answer.json()
        assert document["openapi"].startswith("3.1")
        named = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
        routes = {
            (re.sub(r":\w+}", "}", next(iter(handler.paths))), str(method))
            for handler in HANDLERS
            for method in handler.http_methods
        }
        assert named == routes
        for page in ("/v1", "/v1/nowhere", "/openapi", "/schema", "/docs"):
            refused = await http.get(page)
            assert (refused.status_code, refused.headers["content-type"]) == (404, "application/problem+json")


async def test_a_service_is_stored_changed_and_listed(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        with pytest.raises(NotFound):
            await admin.service(WEB)
        assert await admin.put_service(SPEC) == SPEC
        changed = ServiceSpec(WEB, "/srv/other.git", trunk="")
        await admin.put_service(changed)
        assert await admin.service(WEB) == changed
        assert (await admin.service_page()).items == (changed,)
        assert (await admin.status()).services == (changed,)


SENSELESS = [
    (ServiceSpec(ServiceName("Web"), "/srv/web.git"), "illegal_name"),
    (ServiceSpec(WEB, "/srv/web.git", environment="../x"), "illegal_name"),
    (ServiceSpec(WEB, ""), "no_repository"),
    (ServiceSpec(WEB, "--upload-pack=touch /tmp/x"), "illegal_repository"),
    (ServiceSpec(WEB, "/srv/web.git", trunk="-x"), "illegal_trunk"),
    (ServiceSpec(WEB, "/srv/web.git", selector=Selector(regions=(RegionName("EU"),))), "illegal_name"),
    (ServiceSpec(WEB, "/srv/web.git", max_unavailable=0), "illegal_max_unavailable"),
    (ServiceSpec(WEB, "/srv/web.git", max_unavailable=10**30), "illegal_max_unavailable"),
    (ServiceSpec(WEB, "/srv/web.git", recipe=Recipe(build="make\0")), "illegal_recipe"),
    (ServiceSpec(WEB, "/srv/web.git", recipe=Recipe(activate="./run\0")), "illegal_recipe"),
    (ServiceSpec(WEB, "/srv/web.git", recipe=Recipe(environment={"A=B": "1"})), "illegal_recipe"),
    (ServiceSpec(WEB, "/srv/web.git", recipe=Recipe(environment={"FLEETCAST_DATA": "/etc"})), "illegal_recipe"),
    (ServiceSpec(WEB, "/srv/web.git", recipe=Recipe(environment={"A": "1\0"})), "illegal_recipe"),
    (ServiceSpec(WEB, "/srv/web.git", recipe=Recipe(health_timeout_s=-1)), "illegal_recipe"),
    (ServiceSpec(WEB, "/srv/web.git", selector=Selector(zones=("", "z" * SERVICE_SPEC_BYTES_MAX))), "service_too_large"),
]


async def test_what_makes_no_sense_is_not_stored(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        for spec, code in SENSELESS:
            with pytest.raises(Invalid) as caught:
                await admin.put_service(spec)
            assert caught.value.code == code, spec
        assert (await admin.service_page()).items == ()


async def test_a_service_stays_in_its_environment(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await admin.put_service(SPEC)
        with pytest.raises(Refused, match="production"):
            await admin.put_service(ServiceSpec(WEB, "/srv/web.git", environment="staging"))


async def test_what_does_not_exist_is_not_found_and_nonsense_is_refused(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        worker = await installation.client(Role.WORKER)
        region = await installation.client(Role.REGION)
        missing = [
            admin.deployment(DeploymentId("d0")),
            admin.abort(DeploymentId("d0")),
            admin.deployment_page(service=WEB),
            admin.machine_page(region=RegionName("eu")),
            admin.rollback(RollbackRequest(WEB)),
            admin.build_log(BuildId(9)),
            admin.artifact(f"web/{A}"),
            admin.abort_build(BuildId(9)),
            worker.heartbeat(BuildId(9), Token("t")),
            worker.watch(BuildId(9), Token("t"), 0),
            region.source_grants("d" * 64),
            region.report(RegionReport(RegionName("eu"), (), (), ())),
        ]
        for call in missing:
            with pytest.raises(NotFound):
                await call
        nonsense = [
            admin.deploy(DeployRequest(WEB, CommitSha("HEAD"))),
            admin.artifact("web/main"),
            admin.artifact(f"web/{A}.two"),
            admin.artifact(f"web/{A}.{'9' * 5000}"),
            admin.build_log(BuildId(2**64)),
            admin.deployment_page(limit=0),
            admin.deployment_page(limit=501),
            admin.deployment_page(after="no cursor"),
            admin.service_page(after="WyJ4Il0"),
            admin.event_page(after="-1"),
            admin.event_page(after="9" * 30),
            admin.deploy(DeployRequest(WEB, A), key="a b"),
            admin.deploy(DeployRequest(WEB, A), key="k" * 256),
            worker.claim("", wait_s=0),
            region.source_grants("short"),
            region.hello(RegionHello(RegionName("eu"), "http://127.0.0.1:1", "not hex")),
            region.hello(RegionHello(RegionName("eu"), "file:///etc", "ff")),
            region.hello(RegionHello(RegionName("EU"), "http://127.0.0.1:1", "ff")),
        ]
        for call in nonsense:
            with pytest.raises(Invalid):
                await call


async def test_nothing_to_deploy_to_or_to_go_back_to_is_refused(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await admin.put_service(ServiceSpec(WEB, "/srv/web.git", trunk=""))
        with pytest.raises(Refused) as caught:
            await admin.deploy(DeployRequest(WEB, A))
        assert caught.value.code == "no_machines"
        await installation.region()
        with pytest.raises(Refused) as caught:
            await admin.rollback(RollbackRequest(WEB))
        assert caught.value.code == "nothing_deployed"
