"""Session to server and back over a socket: messages, errors, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from fleetcast.http.application import application
from fleetcast.http.auth import allow
from fleetcast.http.holding import Bell, caller_gone, hold
from fleetcast.http.serving import bind, url_of
from fleetcast.http.session import Session
from fleetcast.http.tokens import Role, TokenSet
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import (
    Conflict,
    FleetcastError,
    Forbidden,
    Incompatible,
    Invalid,
    NotFound,
    Stale,
    Unauthorized,
    Unavailable,
)
from fleetcast.model.generation import Generation
from fleetcast.model.ids import DeploymentId, Digest, MachineId, RegionName, ServiceName
from fleetcast.model.limits import MESSAGE_BYTES_MAX
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import LeaseRequest
from fleetcast.model.messages.regions import RegionReport
from fleetcast.model.replication import CopyProgress
from fleetcast.model.report import DeploymentRollup, NamedFailure

REPORT = RegionReport(
    region=RegionName("eu-west"),
    machines=(Machine(MachineId("m1"), RegionName("eu-west"), "a", "r1", {"tier": "web", "größe": "XL"}),),
    rollups=(
        DeploymentRollup(
            DeploymentId("d1"),
            ServiceName("web"),
            "production",
            Generation(0, 3),
            4,
            3,
            2,
            1,
            1,
            ByteCounts(1, 2, 3),
            250,
            failures=(NamedFailure(MachineId("m1"), "health check: exit 1"),),
        ),
    ),
    copies=(CopyProgress(Digest("ab" * 32), 5, 10),),
    alarms=("goal refused",),
)
LEASE = LeaseRequest(MachineId("m1"), Digest("cd" * 32), ((0, 4), (9, 12)), (1,), (), 16)
RAISED: dict[str, FleetcastError] = {
    "stale": Stale("stale_token", "build 7 was claimed again: stop this attempt"),
    "conflict": Conflict("lost_race", "somebody else was faster: read again"),
    "busy": Unavailable("database_busy", "the database is busy: try again"),
    "missing": NotFound("no_such_build", "there is no build 9"),
}


@post("/report", status_code=200, guards=[allow(Role.REGION)])
async def echo_report(data: JSONBody[RegionReport]) -> RegionReport:
    return data


@post("/lease", status_code=200)
async def echo_lease(data: JSONBody[LeaseRequest]) -> LeaseRequest:
    return data


@get("/raise/{which:str}")
async def fail(which: FromPath[str], raised: NamedDependency[Mapping[str, Any]]) -> None:
    raise raised[which]


@get("/numbers/{number:int}")
async def number(number: FromPath[int], wait_s: FromQuery[float] = 0.0) -> tuple[float, ...]:
    return (number, wait_s)


@get("/defect")
async def defect() -> None:
    raise RuntimeError("secret detail")


TOKENS = TokenSet({Role.REGION: "region-secret", Role.AGENT: "agent-secret"})
APP = application([echo_report, echo_lease, fail, number, defect], TOKENS, {"raised": RAISED})


async def test_messages_arrive_as_they_were_sent(running: Any) -> None:
    async with running(APP) as (url, _):
        session = Session(url, "region-secret")
        assert await session.ask("POST", "/report", REPORT, reply=RegionReport) == REPORT
        assert await session.ask("POST", "/lease", LEASE, reply=LeaseRequest) == LEASE
        numbers = await session.ask("GET", "/numbers/7", params={"wait_s": 1.5}, reply=tuple[float, ...])
        assert numbers == (7, 1.5)
        await session.aclose()


@pytest.mark.parametrize("which", sorted(RAISED))
async def test_an_error_arrives_as_the_class_it_left_as(running: Any, which: str) -> None:
    async with running(APP) as (url, _):
        session = Session(url)
        with pytest.raises(FleetcastError) as caught:
            await session.call("GET", f"/raise/{which}", reply=type(None))
        await session.aclose()
    assert type(caught.value) is type(RAISED[which])
    assert (caught.value.code, caught.value.message) == (RAISED[which].code, RAISED[which].message)


@pytest.mark.parametrize(
    ("token", "error", "code"),
    [("", Unauthorized, "no_token"), ("guessed", Unauthorized, "unknown_token"), ("agent-secret", Forbidden, "wrong_role")],
)
async def test_a_route_is_for_its_role(running: Any, token: str, error: type[FleetcastError], code: str) -> None:
    async with running(APP) as (url, _):
        session = Session(url, token)
        with pytest.raises(error) as caught:
            await session.call("POST", "/report", REPORT, reply=RegionReport)
        await session.aclose()
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "says"),
    [
        ("GET", "/nowhere", None, 404, "no_such_route", "/nowhere"),
        ("DELETE", "/lease", None, 405, "no_such_method", "DELETE"),
        ("POST", "/lease", b"{", 400, "invalid_message", ""),
        ("POST", "/lease", b"", 400, "invalid_message", ""),
        ("POST", "/lease", b"\xff\xfe", 400, "invalid_message", ""),
        ("POST", "/lease", b"[" * 100_000, 400, "invalid_message", ""),
        ("POST", "/lease", b'{"machine": 5}', 400, "invalid_message", "machine"),
        ("POST", "/lease", b'{"protocol": 9}', 426, "incompatible_protocol", "protocol 9"),
        ("GET", "/numbers/seven", None, 404, "no_such_route", ""),
        ("GET", "/numbers/7?wait_s=soon", None, 400, "invalid_message", "wait_s"),
        ("POST", "/lease", b" " * (MESSAGE_BYTES_MAX + 1), 413, "message_too_large", "/lease"),
        ("GET", "/defect", None, 500, "internal_error", ""),
    ],
)
async def test_every_refusal_is_problem_details(
    running: Any, method: str, path: str, body: bytes | None, status: int, code: str, says: str
) -> None:
    async with running(APP) as (url, _), httpx2.AsyncClient(base_url=url) as client:
        answer = await client.request(method, path, content=body, headers={"content-type": "application/json"})
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert says in problem["detail"]
    assert problem["type"] == f"urn:fleetcast:problem:{code}"
    assert "secret" not in answer.text


async def test_a_refusal_carries_the_headers_that_http_wants(running: Any) -> None:
    bearer = 'Bearer realm="fleetcast"'
    wanted = [
        ("PUT", "/lease", {}, {"allow": "OPTIONS, POST"}),
        ("POST", "/report", {}, {"www-authenticate": bearer}),
        ("POST", "/report", {"authorization": "Bearer x"}, {"www-authenticate": f'{bearer}, error="invalid_token"'}),
        ("GET", "/raise/busy", {}, {"retry-after": "1"}),
    ]
    async with running(APP) as (url, _), httpx2.AsyncClient(base_url=url) as client:
        for method, path, sent, told in wanted:
            answer = await client.request(method, path, headers=sent)
            assert answer.headers["content-type"] == "application/problem+json"
            found = {name: answer.headers.get(name) for name in told}
            found = {
                name: ", ".join(sorted((value or "").split(", "))) if name == "allow" else value
                for name, value in found.items()
            }
            assert found == told, path


async def test_a_newer_neighbour_may_add_fields_and_one_version(running: Any) -> None:
    body = b'{"machine":"m1","root":"r","missing":[],"held":[],"returned":[],"want":1,"protocol":2,"invented":{"a":1}}'
    async with running(APP) as (url, _), httpx2.AsyncClient(base_url=url) as client:
        answer = await client.post("/lease", content=body)
    assert answer.status_code == 200
    assert answer.json()["protocol"] == 2


async def _nothing() -> None:
    return None


async def test_nobody_there_is_unavailable() -> None:
    sock = bind("127.0.0.1", 0)
    url = url_of(sock)
    sock.close()
    session = Session(url)
    with pytest.raises(Unavailable, match=url):
        await session.call("GET", "/", reply=dict)
    await session.aclose()


async def test_no_answer_in_time_is_unavailable(running: Any) -> None:
    asked = asyncio.Event()

    @get("/silence")
    async def silence(request: Request[Any, Any, Any]) -> None:
        asked.set()
        async with caller_gone(request.receive) as gone:
            await hold(Bell(), _nothing, wait_s=5, poll_s=0.02, abandoned=gone)

    async with running(application([silence], TOKENS)) as (url, _):
        session = Session(url)
        with pytest.raises(Unavailable) as caught:
            await session.call("GET", "/silence", reply=dict, timeout_s=0.2)
        await session.aclose()
    assert asked.is_set()
    assert caught.value.code == "timeout"


async def test_a_wrong_answer_is_invalid_not_a_crash(running: Any) -> None:
    async with running(APP) as (url, _):
        session = Session(url)
        with pytest.raises(Invalid, match="RegionReport"):
            await session.call("GET", "/numbers/1", reply=RegionReport)
        await session.aclose()


async def test_an_answer_of_a_distant_version_is_refused(running: Any) -> None:
    @get("/future")
    async def future() -> dict[str, Any]:
        return {"protocol": 40, "region": "eu", "machines": [], "rollups": [], "copies": []}

    async with running(application([future], TOKENS)) as (url, _):
        session = Session(url)
        with pytest.raises(Incompatible):
            await session.call("GET", "/future", reply=RegionReport)
        await session.aclose()
