"""Outside checks, asked of a real server that answers as Prometheus does, and by real commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from fleetcast.control.checks.asking import asked
from fleetcast.control.checks.loop import Checking
from fleetcast.http.tokens import Role
from fleetcast.model.check import Check, CheckAnswer, CheckOutcome
from fleetcast.model.ids import CommitSha, DeploymentId, ServiceName
from fleetcast.model.limits import CHECK_LEASE_S
from fleetcast.model.messages.deployments import DeployRequest, PreviewRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.plan import Policy, Stage
from fleetcast.rollouts.check_asks import Ask, answered, check_pictures, claim_asks
from fleetcast.schema.rollout_tables import outside_checks
from fleetcast.schema.tables import events
from paper_company import WEB, Company, paper_company, sha
from played_fleet import Fleet
from prometheus import Prometheus, prometheus
from running import wait_until
from victims import alive

PASSED, FAILED, UNKNOWN = CheckOutcome


@pytest.fixture
def server() -> Iterator[Prometheus]:
    with prometheus() as played:
        yield played


async def _asked(check: Check, *, allow_commands: bool = True, timeout_s: float = 20) -> CheckAnswer:
    ask = Ask(check, DeploymentId("d1"), ServiceName("web"), "production", CommitSha("a" * 40), 0, 0, "token")
    return await asked(ask, allow_commands=allow_commands, timeout_s=timeout_s)


def _query(server: Prometheus, query: str = "x", **more: Any) -> Check:
    return Check(prometheus=server.url, query=query, **({"below": 0.05} | more))


@pytest.mark.parametrize(
    ("values", "bounds", "outcome", "said"),
    [
        (["0.01"], {}, PASSED, "0.01 is below 0.05"),
        (["0.05"], {}, FAILED, "0.05 is not below 0.05"),
        (["+Inf"], {}, FAILED, "inf is not below 0.05"),
        (["3"], {"below": None, "above": 2}, PASSED, "3 is above 2"),
        (["3"], {"below": 4, "above": 3}, FAILED, "3 is not above 3"),
        (["0.01", "0.2"], {}, FAILED, "0.2 is not below 0.05"),
        (["0.01", "0.02"], {}, PASSED, "2 values, 0.01 to 0.02, are below 0.05"),
        ([], {}, UNKNOWN, "no data"),
        (["NaN"], {}, UNKNOWN, "no data"),
    ],
)
async def test_a_query(
    server: Prometheus, values: list[str], bounds: dict[str, float], outcome: CheckOutcome, said: str
) -> None:
    server.value, server.more = (values[0], tuple(values[1:])) if values else (None, ())
    answer = await _asked(_query(server, 'errors{service="{service}",sha="{commit}"}', **bounds))
    assert (answer.outcome, answer.figures) == (outcome, said)
    assert server.queries == [f'errors{{service="web",sha="{"a" * 40}"}}']


async def test_a_server_that_does_not_answer_as_prometheus_does_says_nothing(server: Prometheus) -> None:
    answer = await _asked(_query(server, "sum("))
    assert (answer.outcome, answer.figures) == (UNKNOWN, "status 400: 1:5: parse error: unexpected end of input")
    other = Check(prometheus=f"{server.url}/under", query="x", below=1)
    assert (await _asked(other)).figures == "status 200: no error is named"
    assert server.paths == ["/under/api/v1/query?query=x"]
    answer = await _asked(Check(prometheus="http://127.0.0.1:1", query="x", below=1))
    assert answer.outcome is UNKNOWN
    assert answer.figures.startswith("http://127.0.0.1:1 cannot be reached")


@pytest.mark.parametrize(
    ("expects", "answer", "outcome", "said"),
    [
        ({}, (204, b""), PASSED, "status 204"),
        ({}, (503, b"secret"), FAILED, "status 503"),
        ({}, (302, b""), FAILED, "status 302"),
        ({"ready": True, "lag": 3}, (200, b'{"ready": true, "lag": 3, "x": 1}'), PASSED, "status 200, as expected"),
        ({"ready": True}, (200, b'{"ready": 1}'), FAILED, "ready is 1, not true"),
        ({"ready": True}, (200, b"{}"), FAILED, "ready is null, not true"),
        ({"ready": True}, (200, b"<html>"), FAILED, "status 200, and no JSON object"),
    ],
)
async def test_an_address(
    server: Prometheus, expects: dict[str, str | int | bool], answer: tuple[int, bytes], outcome: CheckOutcome, said: str
) -> None:
    server.answer = lambda _path: answer
    found = await _asked(Check(url=f"{server.url}/health?of={{service}}", expects=expects))
    assert (found.outcome, found.figures) == (outcome, said)
    assert server.paths == ["/health?of=web"], "a redirect is not followed"


async def test_an_address_where_nobody_is_says_nothing() -> None:
    assert (await _asked(Check(url="http://127.0.0.1:1/"))).outcome is UNKNOWN


async def test_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETCAST_TOKEN_FILE", "/secret")
    passed = await _asked(Check(command=("/bin/sh", "-c", "echo {service} $FLEETCAST_COMMIT $FLEETCAST_TOKEN_FILE")))
    assert passed == CheckAnswer(PASSED, "it exited 0", f"web {'a' * 40}\n")
    failed = await _asked(Check(command=("/bin/sh", "-c", "echo too slow >&2; exit 3")))
    assert failed == CheckAnswer(FAILED, "it exited 3", "too slow\n")
    missing = await _asked(Check(command=("/no/such/program",)))
    assert missing == CheckAnswer(UNKNOWN, "it cannot be started: No such file or directory")


async def test_a_command_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {pid}.new; mv {pid}.new {pid}; wait"
    answer = await _asked(Check(command=("/bin/sh", "-c", script)), timeout_s=2)
    assert (answer.outcome, answer.figures) == (UNKNOWN, "it did not end within 2 s, and was killed")
    child = int(pid.read_text())
    await asyncio.to_thread(wait_until, lambda: not alive(child), "the command's child ends")


async def test_commands_are_off_unless_the_operator_allows_them() -> None:
    answer = await _asked(Check(command=("/bin/true",)), allow_commands=False)
    assert (answer.outcome, answer.figures) == (UNKNOWN, "control runs no commands: its setting check_commands is off")


@pytest.fixture
async def company(tmp_path: Path, database_url: str) -> AsyncIterator[Company]:
    async with paper_company(tmp_path, database_url) as company:
        yield company


async def _baking(company: Company, *checks: Check) -> DeploymentId:
    """A deployment whose first wave bakes."""
    fleet = Fleet(company)
    await fleet.join({"eu": 2, "us": 1})
    policy = Policy(stages=(Stage("one", count=1, bake_s=600, checks=checks), Stage("everyone")))
    deployment = (await company.triggers.deploy(DeployRequest(WEB, sha("b"), plan=policy))).id
    await company.make("b")
    await company.step()
    assert await claim_asks(company.database, 10) == (), "nobody is asked before everybody is healthy"
    for _ in range(4):
        await fleet.turn()
        await company.step()
    assert "bakes until" in (await company.show(deployment)).reason
    return deployment


async def test_of_two_control_processes_one_asks(company: Company, server: Prometheus) -> None:
    deployment = await _baking(company, _query(server), Check(url=f"{server.url}/ready"))
    both = [Checking(company.database, lambda: None, allow_commands=False) for _ in range(2)]
    for _ in range(3):
        await asyncio.gather(*(each.turn() for each in both))
        await asyncio.gather(*(each.settle() for each in both))
    assert (len(server.queries), server.paths) == (1, ["/ready"])
    async with company.database.reading() as reading:
        pictures = await check_pictures(reading, deployment)
        told = (await reading.execute(select(events.c.text).where(events.c.kind == "deployment.checked"))).scalars().all()
    assert [(each.name, each.outcome, each.failures) for each in pictures] == [("query", PASSED, 0), ("url", PASSED, 0)]
    assert sorted(told) == ["check query passed: 0 is below 0.05", "check url passed: status 200"]


async def test_the_answer_of_one_that_was_thought_dead_is_dropped(company: Company, server: Prometheus) -> None:
    deployment = await _baking(company, _query(server))
    (slow,) = await claim_asks(company.database, 10)
    assert await claim_asks(company.database, 10) == ()
    async with company.database.transaction() as tx:
        late = outside_checks.c.claim_expires_at - (CHECK_LEASE_S + 1) * 1000
        await tx.execute(update(outside_checks).values(claim_expires_at=late))
    (other,) = await claim_asks(company.database, 10)
    assert not await answered(company.database, slow, CheckAnswer(FAILED, "old"))
    assert await answered(company.database, other, CheckAnswer(PASSED, "new"))
    async with company.database.reading() as reading:
        (picture,) = await check_pictures(reading, deployment)
    assert (picture.outcome, picture.figures) == (PASSED, "new")


async def test_a_check_of_a_deployment_that_has_ended_is_asked_no_more(company: Company, server: Prometheus) -> None:
    deployment = await _baking(company, _query(server))
    await company.triggers.abort(deployment)
    assert await claim_asks(company.database, 10) == ()


@pytest.mark.one_engine
async def test_a_preview_says_that_a_command_will_never_pass(control: Any) -> None:
    plan = Policy(stages=(Stage(bake_s=10, checks=(Check("smoke", command=("true",)),)),))
    said = "it never passes check smoke: control runs no commands, its setting check_commands is off"
    for allowed in (False, True):
        async with control(check_commands=allowed) as installation:
            admin = await installation.client(Role.ADMIN)
            await installation.region()
            await admin.put_service(ServiceSpec(WEB, "/repo", plan=plan))
            assert (said in (await admin.preview(PreviewRequest(WEB))).remarks) is not allowed
