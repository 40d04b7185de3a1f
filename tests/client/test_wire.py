"""What the client sends: methods, paths and bodies are the interface with control, old and new (law 13)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from litestar.types import Receive, Scope, Send

from fleetcast.client.control import ControlClient
from fleetcast.http import raw, serving
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Unavailable
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, DeploymentId, Digest, RegionName, ServiceName, Token
from fleetcast.model.messages.builds import ClaimedBuild, CommitRequest, FinishedUpload
from fleetcast.model.messages.deployments import DeployRequest, RetryRequest, RollbackRequest
from fleetcast.model.messages.regions import KvPage, RegionHello, RegionReport
from fleetcast.model.messages.services import ServiceSpec

BUILD, TOKEN = BuildId(7), Token("t0")
WEB = ServiceName("web")
ACCEPTED = {"build": 7, "status": "RUNNING"}
DEPLOYMENT: dict[str, Any] = {
    "id": "d1",
    "service": "web",
    "environment": "production",
    "kind": "deploy",
    "sequence": 1,
    "commit_sha": "a" * 40,
    "state": "BUILDING",
    "reason": "",
    "build": 7,
    "artifact": None,
    "release": None,
    "generation": None,
    "created_at_ms": 1,
    "finished_at_ms": None,
    "build_s": None,
    "replicate_s": None,
    "distribute_s": None,
    "artifact_bytes": None,
    "progress": {},
}
SPEC = {"name": "web", "repository": "/srv/web.git"}
GRANT = {"method": "GET", "url": "http://x/", "expires_at_ms": 1}
UPLOAD = FinishedUpload("content.1", ())


@dataclass
class Recorder:
    """A server that answers every request alike and remembers the last one."""

    answer: Any = None
    method: str = ""
    target: str = ""
    body: Any = None
    headers: dict[bytes, bytes] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        query = scope["query_string"].decode()
        self.method, self.target = scope["method"], scope["path"] + (f"?{query}" if query else "")
        self.headers = dict(scope["headers"])
        body = await raw.read_body(receive)
        self.body = json.loads(body) if body else None
        if self.answer is None:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await raw.answer(send, self.answer)


@contextlib.asynccontextmanager
async def _client(recorder: Recorder) -> AsyncIterator[ControlClient]:
    sock, stop = serving.bind("127.0.0.1", 0), asyncio.Event()
    served = asyncio.create_task(serving.serve(recorder, sock, stop))
    try:
        async with ControlClient(serving.url_of(sock), "secret") as client:
            yield client
    finally:
        stop.set()
        await served


Call = Callable[[ControlClient], Awaitable[Any]]
CALLS: list[tuple[str, Call, Any]] = [
    ("PUT /v1/services/web", lambda c: c.put_service(ServiceSpec(WEB, "/srv/web.git")), SPEC),
    ("GET /v1/services/web", lambda c: c.service(WEB), SPEC),
    ("GET /v1/services?after=x&limit=50", lambda c: c.service_page(after="x"), {"items": [SPEC], "next": None}),
    ("POST /v1/deployments", lambda c: c.deploy(DeployRequest(WEB, CommitSha("a" * 40))), DEPLOYMENT),
    ("POST /v1/rollbacks", lambda c: c.rollback(RollbackRequest(WEB)), DEPLOYMENT),
    ("POST /v1/retries", lambda c: c.retry(RetryRequest(WEB)), DEPLOYMENT),
    ("POST /v1/deployments/d1/abort", lambda c: c.abort(DeploymentId("d1")), DEPLOYMENT),
    (
        "GET /v1/deployments/d1?wait_s=5.0&seen=v1",
        lambda c: c.deployment(DeploymentId("d1"), wait_s=5.0, seen="v1"),
        {"deployment": DEPLOYMENT, "build": None, "replicas": [], "version": "v2"},
    ),
    (
        "GET /v1/deployments?service=web&state=FAILED&after=&limit=20",
        lambda c: c.deployment_page(service=WEB, state=DeploymentState.FAILED, limit=20),
        {"items": [DEPLOYMENT], "next": None},
    ),
    (
        "GET /v1/status",
        lambda c: c.status(),
        {"version": "1", "services": [], "regions": [], "deployments": []},
    ),
    ("GET /v1/regions?after=&limit=50", lambda c: c.region_page(), {"items": [], "next": None}),
    (
        "GET /v1/machines?region=eu&after=m7&limit=5",
        lambda c: c.machine_page(region=RegionName("eu"), after="m7", limit=5),
        {"items": [], "next": None},
    ),
    ("GET /v1/events?service=web&after=7&limit=50", lambda c: c.event_page(service=WEB, after="7"), {"items": [], "next": "7"}),
    (
        "GET /v1/builds/7/log?offset=12",
        lambda c: c.build_log(BUILD, 12),
        {"offset": 12, "text": "", "next_offset": 12, "finished": True},
    ),
    (
        f"GET /v1/artifacts/web/{'a' * 40}.2",
        lambda c: c.artifact(ArtifactName(f"web/{'a' * 40}.2")),
        {"name": "web/x", "envelope": "{}", "replicas": [], "deployable": True},
    ),
    ("POST /v1/builds/7/heartbeat", lambda c: c.heartbeat(BUILD, TOKEN), ACCEPTED),
    ("POST /v1/builds/7/watch", lambda c: c.watch(BUILD, TOKEN, 5), ACCEPTED),
    ("POST /v1/builds/7/log", lambda c: c.append_log(BUILD, TOKEN, 3, "made\n"), ACCEPTED),
    ("POST /v1/builds/7/uploads", lambda c: c.open_upload(BUILD, TOKEN, "content"), {"upload": "content.1", "part_bytes": 5}),
    (
        "POST /v1/builds/7/uploads/content.1/parts",
        lambda c: c.part_grants(BUILD, TOKEN, "content.1", 1, 2),
        {"grants": [GRANT]},
    ),
    ("POST /v1/builds/7/commit", lambda c: c.commit(BUILD, CommitRequest(TOKEN, "{}", UPLOAD, UPLOAD)), ACCEPTED),
    ("POST /v1/builds/7/fail", lambda c: c.fail(BUILD, TOKEN, "no", hand_back=True), ACCEPTED),
    ("POST /v1/regions/eu/hello", lambda c: c.hello(RegionHello(RegionName("eu"), "http://x", "ff")), {}),
    ("POST /v1/regions/eu/report", lambda c: c.report(RegionReport(RegionName("eu"), (), (), ())), {}),
    (
        "GET /v1/kv?prefix=goals%2F&after=4&wait_s=0.0",
        lambda c: c.kv_page("goals/", 4),
        {"revision": 4, "snapshot": False, "entries": []},
    ),
    (
        f"POST /v1/artifacts/{'d' * 64}/source",
        lambda c: c.source_grants(Digest("d" * 64)),
        {"digest": "d" * 64, "manifest": GRANT, "content": GRANT},
    ),
]


@pytest.mark.parametrize(("request_line", "call", "answer"), CALLS, ids=[line for line, _, _ in CALLS])
async def test_a_call_is_one_request(request_line: str, call: Call, answer: Any) -> None:
    recorder = Recorder(answer)
    async with _client(recorder) as client:
        await call(client)
    assert f"{recorder.method} {recorder.target}" == request_line
    assert recorder.headers[b"authorization"] == b"Bearer secret"
    if recorder.body is not None:
        assert recorder.body["protocol"] == 1


async def test_a_claim_may_come_back_empty() -> None:
    recorder = Recorder(None)
    async with _client(recorder) as client:
        assert await client.claim("w1", wait_s=3) is None
    assert recorder.body == {"worker": "w1", "wait_s": 3, "protocol": 1}


async def test_a_claim_brings_all_a_worker_needs() -> None:
    claimed = {
        "build": 7,
        "token": "t0",
        "attempt": 1,
        "name": "web/x",
        "service": "web",
        "commit_sha": "a" * 40,
        "repository": "/srv/web.git",
        "trunk": "main",
        "recipe": {"build": "make", "environment": {"A": "1"}},
        "heartbeat_interval_s": 1.5,
        "command_s_max": 900,
        "pack_upload_s_max": 300,
        "told_by_a_newer_control": True,
    }
    async with _client(Recorder(claimed)) as client:
        build = await client.claim("w1")
    assert isinstance(build, ClaimedBuild)
    assert (build.recipe.build, build.recipe.environment, build.recipe.output) == ("make", {"A": "1"}, None)


async def test_an_empty_answer_where_one_is_due_is_unavailable() -> None:
    async with _client(Recorder(None)) as client:
        with pytest.raises(Unavailable):
            await client.status()


async def test_pages_are_told_apart() -> None:
    page = {"revision": 9, "snapshot": True, "entries": [{"key": "goals/a/b", "value": "{}", "mod_revision": 8}]}
    async with _client(Recorder(page)) as client:
        got = await client.kv_page("goals/", 0)
    assert isinstance(got, KvPage)
    assert got.snapshot
    assert got.entries[0].key == "goals/a/b"
