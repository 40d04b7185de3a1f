"""Webhooks of GitHub and GitLab at a real control process: who is let in, and what a push triggers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest

from fleetcast.client.control import ControlClient
from fleetcast.control.hooks.deliveries import Delivery, earlier_answer, forget_deliveries, remember
from fleetcast.http.tokens import Role
from fleetcast.model.errors import Invalid
from fleetcast.model.ids import BuildId, ServiceName
from fleetcast.model.limits import HOOK_AGE_S_MAX, HOOK_BODY_BYTES_MAX, HOOK_SIGNED_S_MAX, HOOKS_AT_ONCE_MAX
from fleetcast.model.messages.hooks import HookAnswer
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.push import OnPush
from fleetcast.stores.database import Database
from forges import NOWHERE, github_headers, github_push, gitlab_headers, gitlab_push, signed

OLD, NEW = "an-older-secret", "a-newer-secret"
SIGNING = "whsec_" + base64.b64encode(b"k" * 32).decode()
WEB, API = ServiceName("web"), ServiceName("api")
A, B, C = "a" * 40, "b" * 40, "c" * 40
GITHUB, GITLAB = "/v1/hooks/github", "/v1/hooks/gitlab"


@dataclass
class Place:
    """A control process that expects webhooks, and what is known of it."""

    admin: ControlClient
    http: httpx2.AsyncClient
    installation: Any

    async def service(self, name: ServiceName, on_push: OnPush, repository: str, **more: Any) -> None:
        await self.admin.put_service(ServiceSpec(name, repository, on_push=on_push, **more))

    async def github(self, body: bytes, delivery: str = "d1", secret: str = NEW, **more: Any) -> Any:
        return await self.http.post(GITHUB, content=body, headers=github_headers(body, secret, delivery, **more))

    async def gitlab(self, body: bytes, delivery: str = "d1", token: str = NEW, **more: Any) -> Any:
        return await self.http.post(GITLAB, content=body, headers=gitlab_headers(token, delivery, **more))

    async def done(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Deployments and builds that there are, oldest first: service and commit."""
        deployments = [(each.service, each.commit_sha[0]) async for each in self.admin.deployments()]
        events = (await self.admin.event_page()).items
        builds = [each.text.partition("/")[::2] for each in events if each.kind == "build.queued"]
        return deployments[::-1], [(service, commit[0]) for service, commit in builds]


def _secret_file(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


@contextlib.asynccontextmanager
async def _place(control: Any, home: Path) -> AsyncIterator[Place]:
    files = {
        "github_hook_secrets": _secret_file(home / "github.secrets", NEW, OLD),
        "gitlab_hook_secrets": _secret_file(home / "gitlab.secrets", NEW, SIGNING),
    }
    async with control(**files) as installation, httpx2.AsyncClient(base_url=installation.addresses["api"]) as http:
        await installation.region()
        yield Place(await installation.client(Role.ADMIN), http, installation)


async def test_a_push_to_the_trunk_triggers_what_each_service_of_the_repository_wants(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        await place.service(WEB, OnPush.DEPLOY, "git@github.com:codertocat/hello-world.git")
        await place.service(API, OnPush.BUILD, "https://github.com/Codertocat/Hello-World")
        await place.service(ServiceName("idle"), OnPush.NOTHING, "https://github.com/Codertocat/Hello-World")
        await place.service(ServiceName("other"), OnPush.DEPLOY, "https://github.com/Codertocat/Other")
        answer = await place.github(github_push(A))
        assert answer.status_code == 200
        said = {each["service"]: each for each in answer.json()["services"]}
        assert {name: each["triggered"] for name, each in said.items()} == {"web": "deploy", "api": "build", "idle": ""}
        assert "--on-push" in said["idle"]["said"]
        (deployment,) = [each async for each in place.admin.deployments()]
        assert (deployment.id, deployment.commit_sha) == (said["web"]["subject"], A)
        assert await place.done() == ([("web", "a")], [("api", "a"), ("web", "a")])


@pytest.mark.one_engine
async def test_the_servers_say_hello(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        answer = await place.github(b'{"zen": "Design for failure.", "hook_id": 1}', event="ping")
        assert (answer.status_code, answer.json()["said"]) == (200, "pong: pushes will be heard")


@pytest.mark.one_engine
async def test_who_has_no_secret_of_ours_does_nothing(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        await place.service(WEB, OnPush.DEPLOY, "https://github.com/Codertocat/Hello-World")
        await place.service(API, OnPush.DEPLOY, "https://gitlab.example.com/mike/diaspora")
        body, labs = github_push(A), gitlab_push(A)
        tampered = github_headers(body, NEW, "d1") | {"content-length": str(len(body))}
        unsigned = {name: value for name, value in github_headers(body, NEW, "d1").items() if "signature" not in name}
        admin = unsigned | {"authorization": f"Bearer {_token(place, Role.ADMIN)}"}
        refused = [
            await place.github(body, secret="a guess"),
            await place.http.post(GITHUB, content=body.replace(b"Hello", b"Jello"), headers=tampered),
            await place.http.post(GITHUB, content=body, headers=unsigned),
            await place.http.post(GITHUB, content=body, headers=admin),
            await place.http.post(GITHUB, content=body, headers=unsigned | {"x-hub-signature-256": "sha256=\xfc".encode()}),
            await place.gitlab(labs, token="a guess"),
            await place.gitlab(labs, token=""),
            await place.gitlab(labs, token=SIGNING),
        ]
        for answer in refused:
            assert answer.status_code == 401
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] in ("wrong_signature", "no_signature")
        assert await place.done() == ([], [])


def _token(place: Place, role: Role) -> str:
    return (place.installation.home / f"{role}.token").read_text().strip()


@pytest.mark.one_engine
async def test_a_secret_is_replaced_while_both_hold_and_without_a_restart(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        await place.service(WEB, OnPush.BUILD, "https://github.com/Codertocat/Hello-World")
        assert (await place.github(github_push(A), "d1", OLD)).status_code == 200
        assert (await place.github(github_push(B, A), "d2", NEW)).status_code == 200
        _secret_file(tmp_path / "github.secrets", NEW)
        assert (await place.github(github_push(C, B), "d3", OLD)).status_code == 401
        (tmp_path / "github.secrets").chmod(0o644)
        unusable = await place.github(github_push(C, B), "d3", NEW)
        assert (unusable.status_code, unusable.json()["code"]) == (503, "hook_secrets_unusable")
        assert str(tmp_path) not in unusable.text
        assert await place.done() == ([], [("web", "a"), ("web", "b")])


async def test_a_delivery_that_comes_again_is_answered_as_the_first_time(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        await place.service(WEB, OnPush.DEPLOY, "https://github.com/Codertocat/Hello-World")
        body = github_push(A)
        first = (await place.github(body, "d1")).json()
        await place.github(github_push(B, A), "d2")
        # Under its own id, and under another: that header is not signed.
        for again in (await place.github(body, "d1"), await place.github(body, "d3")):
            assert again.status_code == 200
            assert again.json() == first | {"replayed": True}
        assert await place.done() == ([("web", "a"), ("web", "b")], [("web", "a"), ("web", "b")])


async def test_a_push_of_long_ago_is_refused(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        await place.service(WEB, OnPush.DEPLOY, "https://github.com/Codertocat/Hello-World")
        answer = await place.github(github_push(A, pushed_at=int(time.time()) - HOOK_AGE_S_MAX - 60))
        assert (answer.status_code, answer.json()["code"]) == (409, "delivery_too_old")
        assert await place.done() == ([], [])


@pytest.mark.one_engine
async def test_what_is_no_push_to_the_trunk_does_nothing_and_says_why(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        await place.service(WEB, OnPush.DEPLOY, "https://github.com/Codertocat/Hello-World")
        answers = {
            "is not a branch": await place.github(github_push(A, ref="refs/tags/v1"), "d1"),
            "was deleted": await place.github(github_push(NOWHERE, A), "d2"),
            "no service has": await place.github(github_push(A, repository="some/body"), "d3"),
            "of no use": await place.github(b'{"action": "opened"}', "d4", event="issues"),
            "'Tag Push Hook'": await place.gitlab(gitlab_push(A, ref="refs/tags/v1"), "d5", event="Tag Push Hook"),
            "'System Hook'": await place.gitlab(b'{"event_name": "project_create"}', "d6", event="System Hook"),
        }
        for why, answer in answers.items():
            assert answer.status_code == 200, answer.text
            assert why in answer.json()["said"]
        other = await place.github(github_push(A, ref="refs/heads/feature"), "d7")
        assert "is not the trunk of web" in other.json()["services"][0]["said"]
        assert await place.done() == ([], [])


@pytest.mark.one_engine
async def test_what_makes_no_sense_is_refused_in_one_line(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        await place.service(WEB, OnPush.DEPLOY, "https://github.com/Codertocat/Hello-World")
        body, labs = github_push(A), gitlab_push(A)
        nameless = github_headers(body, NEW, "d1") | {"x-github-delivery": ""}
        answers = [
            (await place.github(body[:-1]), 400, "invalid_message"),
            (await place.github(b"[" * 100_000), 400, "invalid_message"),
            (await place.github(b'{"ref": "refs/heads/main"}'), 400, "invalid_message"),
            (await place.github(github_push("HEAD")), 400, "illegal_sha"),
            (await place.github(body, content_type="application/x-www-form-urlencoded"), 400, "invalid_message"),
            (await place.http.post(GITHUB, content=body, headers=nameless), 400, "no_delivery_id"),
            (await place.gitlab(labs.replace(b"git_", b"got_")), 400, "invalid_message"),
            (await place.gitlab(labs, "d" * 1000), 400, "no_delivery_id"),
            (await place.http.get(GITHUB), 405, "no_such_method"),
        ]
        for answer, status, code in answers:
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
            assert "\n" not in answer.json()["detail"]
        assert await place.done() == ([], [])


@pytest.mark.one_engine
async def test_what_is_too_large_is_refused_before_it_is_read(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        headers = github_headers(b"", NEW, "d1") | {"content-length": str(HOOK_BODY_BYTES_MAX + 1)}
        request = b"POST %s HTTP/1.1\r\nhost: x\r\n" % GITHUB.encode()
        request += b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n"
        async with _connection(place) as (reader, writer):
            writer.write(request)
            await writer.drain()
            assert b" 413 " in await reader.readline()


@pytest.mark.one_engine
async def test_few_are_received_at_a_time_and_the_others_are_asked_to_come_again(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place, contextlib.AsyncExitStack() as slow:
        headers = github_headers(b"", NEW, "d1") | {"content-length": "1000"}
        request = b"POST %s HTTP/1.1\r\nhost: x\r\n" % GITHUB.encode()
        request += b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n{"
        for _ in range(HOOKS_AT_ONCE_MAX):
            _, writer = await slow.enter_async_context(_connection(place))
            writer.write(request)
            await writer.drain()
        refused = await _until_status(place, 503)
        assert (refused.json()["code"], refused.headers["retry-after"]) == ("too_many_hooks", "1")
        await slow.aclose()
        await _until_status(place, 200)


async def _until_status(place: Place, status: int) -> Any:
    async with asyncio.timeout(60):
        while True:
            answer = await place.github(b"{}", event="ping")
            if answer.status_code == status:
                return answer
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _connection(place: Place) -> AsyncIterator[Any]:
    address = urlsplit(place.installation.addresses["api"])
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@pytest.mark.one_engine
async def test_hooks_that_are_not_set_up_are_not_there(control: Any) -> None:
    async with control() as installation, httpx2.AsyncClient(base_url=installation.addresses["api"]) as http:
        for path in (GITHUB, GITLAB):
            answer = await http.post(path, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (404, "no_hook")


@pytest.mark.one_engine
async def test_github_may_send_a_form(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        await place.service(WEB, OnPush.BUILD, "https://github.com/Codertocat/Hello-World")
        body = urlencode({"payload": github_push(A).decode()}).encode()
        answer = await place.github(body, content_type="application/x-www-form-urlencoded")
        assert answer.json()["services"][0]["triggered"] == "build"


@pytest.mark.one_engine
async def test_gitlab_pushes_with_a_token_or_signed(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        await place.service(WEB, OnPush.BUILD, "git@gitlab.example.com:mike/diaspora.git")
        now = int(time.time())
        answer = await place.gitlab(gitlab_push(A), "d1")
        assert answer.json()["services"][0]["triggered"] == "build"
        body = gitlab_push(B, A)
        for headers, status, code in [
            (signed(gitlab_headers("", "d2"), body + b" ", SIGNING, now), 401, "wrong_signature"),
            # A right token does not make up for a wrong signature.
            (signed(gitlab_headers(NEW, "d2"), body + b" ", SIGNING, now), 401, "wrong_signature"),
            (signed(gitlab_headers("", "d2"), body, SIGNING, now - HOOK_SIGNED_S_MAX - 60), 409, "delivery_too_old"),
            (signed(gitlab_headers("", "d2"), body, SIGNING, now) | {"webhook-id": "d3"}, 401, "wrong_signature"),
        ]:
            answer = await place.http.post(GITLAB, content=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
        right = signed(gitlab_headers("", "d2"), body, SIGNING, now)
        for replayed in (False, True):
            answer = await place.http.post(GITLAB, content=body, headers=right)
            assert (answer.json()["services"][0]["triggered"], answer.json()["replayed"]) == ("build", replayed)
        assert await place.done() == ([], [("web", "a"), ("web", "b")])


async def test_pushes_that_come_in_the_wrong_order_leave_the_newest(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        await place.service(WEB, OnPush.DEPLOY, "https://gitlab.example.com/mike/diaspora")
        await place.gitlab(gitlab_push(C, B), "d2")
        late = await place.gitlab(gitlab_push(B, A), "d1")
        assert "overtaken" in late.json()["services"][0]["said"]
        assert (await place.done())[0] == [("web", "c")]


async def test_what_was_refused_is_tried_again_when_it_is_delivered_again(control: Any, tmp_path: Path) -> None:
    """A service without machines keeps no other from its own, and gets its own later."""
    nowhere = ServiceName("nowhere")
    files = {"github_hook_secrets": _secret_file(tmp_path / "github.secrets", NEW)}
    async with control(**files) as installation, httpx2.AsyncClient(base_url=installation.addresses["api"]) as http:
        place = Place(await installation.client(Role.ADMIN), http, installation)
        await place.service(nowhere, OnPush.DEPLOY, "https://github.com/Codertocat/Hello-World")
        await place.service(WEB, OnPush.BUILD, "https://github.com/Codertocat/Hello-World")
        body = github_push(A)
        said = {each["service"]: each for each in (await place.github(body)).json()["services"]}
        assert (said["nowhere"]["refused"], said["web"]["triggered"]) == (True, "build")
        assert "selects no machine" in said["nowhere"]["said"]
        await installation.region()
        said = {each["service"]: each for each in (await place.github(body)).json()["services"]}
        assert (said["nowhere"]["triggered"], said["web"]["triggered"]) == ("deploy", "")
        assert (await place.done())[0] == [("nowhere", "a")]


async def test_two_processes_told_at_once_trigger_once(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as one, _place(control, tmp_path) as other:
        await one.service(WEB, OnPush.DEPLOY, "https://github.com/Codertocat/Hello-World")
        body = github_push(A)
        answers = await asyncio.gather(*(place.github(body, f"d{n}") for n, place in enumerate([one, other] * 3)))
        assert {answer.status_code for answer in answers} == {200}
        assert (await one.done())[0] == [("web", "a")]


async def test_a_changed_service_starts_from_nothing(control: Any, tmp_path: Path) -> None:
    async with _place(control, tmp_path) as place:
        for trunk in ("main", "release"):
            await place.service(WEB, OnPush.BUILD, "https://github.com/Codertocat/Hello-World", trunk=trunk)
            answer = await place.github(github_push(A, ref=f"refs/heads/{trunk}"), trunk)
            (outcome,) = answer.json()["services"]
            assert outcome["said"] == f"build of {A} is triggered"
            await place.admin.abort_build(BuildId(int(outcome["subject"])))


@pytest.mark.one_engine
async def test_a_service_that_could_not_be_followed_is_refused(control: Any) -> None:
    senseless = {
        "no_trunk_to_follow": ServiceSpec(WEB, "/srv/web", trunk="", on_push=OnPush.BUILD),
        "illegal_poll_every": ServiceSpec(WEB, "/srv/web", on_push=OnPush.BUILD, poll_every_s=1),
        "poll_for_nothing": ServiceSpec(WEB, "/srv/web", poll_every_s=60),
    }
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        for code, spec in senseless.items():
            with pytest.raises(Invalid) as caught:
                await admin.put_service(spec)
            assert caught.value.code == code


async def test_deliveries_are_forgotten_by_age_and_number(database_url: str) -> None:
    database = await Database.open(database_url)
    deliveries = [Delivery("github", f"d{number}", f"{number:064x}", False) for number in range(5)]
    for delivery in deliveries:
        async with database.transaction() as tx:
            await remember(tx, delivery, HookAnswer("done"))
            await tx.exec_driver_sql("UPDATE hook_deliveries SET received_at = received_at - 1000")
    async with database.transaction() as tx:
        assert await forget_deliveries(tx, kept_max=3) == 2
        assert await forget_deliveries(tx, kept_s=2.5) == 1
        known = [await earlier_answer(tx, delivery) is not None for delivery in deliveries]
    await database.close()
    assert known == [False, False, False, True, True]
