"""The API's document, and that what it says is what happens: these are the sorts of defect that ``make test-api`` found."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from fleetcast.http.cursors import cursor
from fleetcast.http.tokens import Role, load_or_create

pytestmark = pytest.mark.one_engine

SHA, DIGEST = "a" * 40, "d" * 64
HELLO = {"region": "eu", "data_url": "http://127.0.0.1:9", "data_key": "00"}
ROLLUP = {
    "deployment": "d1",
    "service": "web",
    "environment": "production",
    "generation": {"epoch": 0, "counter": 1},
    "selected": 1,
    "reporting": 1,
    "fetched": 1,
    "active": 1,
    "failed": 0,
    "bytes": {},
    "last_active_age_ms": 0,
}
REPORT: dict[str, Any] = {"region": "eu", "machines": [], "rollups": [], "copies": []}
TARGET = {"artifact": f"web/{SHA}", "digest": DIGEST, "root": DIGEST}
SERVICE = {
    "service": "web",
    "environment": "production",
    "generation": {"epoch": 0, "counter": 1},
    "deployment": "d1",
    "target": TARGET,
    "phase": "ACTIVE",
    "running": None,
    "bytes": {},
    "target_bytes": 0,
    "active_age_ms": 0,
}


def _answer(**changes: Any) -> dict[str, Any]:
    answer = {"machine": "m1", "heard_age_ms": 1, "services": [{**SERVICE, **changes}]}
    return {"region": "eu", "answer": answer}


REQUESTS: list[tuple[Role, str, str, Any, int, str]] = [
    # JSON's types are kept apart, but for numbers, of which there is one kind.
    (Role.REGION, "POST", "/v1/regions/eu/answers", _answer(removed=0), 400, "invalid_message"),
    (Role.REGION, "POST", "/v1/regions/eu/answers", _answer(target_bytes="1"), 400, "invalid_message"),
    (Role.REGION, "POST", "/v1/regions/eu/answers", _answer(target_bytes=1.5), 400, "invalid_message"),
    (Role.REGION, "POST", "/v1/regions/eu/answers", _answer(target_bytes=1.0), 200, ""),
    (Role.WORKER, "POST", "/v1/builds/claim", {"worker": "w1", "wait_s": 0, "protocol": 1.0}, 204, ""),
    (Role.ADMIN, "GET", "/v1/builds?status=null", None, 400, "illegal_choice"),
    (Role.ADMIN, "GET", "/v1/deployments?state=null", None, 400, "illegal_choice"),
    # What no database takes is refused before it sees it.
    (
        Role.REGION,
        "POST",
        "/v1/regions/eu/report",
        {**REPORT, "rollups": [{**ROLLUP, "active": 2**63}]},
        400,
        "invalid_message",
    ),
    (Role.REGION, "GET", f"/v1/kv?after={2**63}", None, 400, "invalid_message"),
    (Role.ADMIN, "GET", f"/v1/builds?after={cursor(2**64)}", None, 422, "illegal_cursor"),
    (Role.ADMIN, "GET", f"/v1/deployments?after={cursor('newest')}", None, 422, "illegal_cursor"),
    (Role.ADMIN, "GET", f"/v1/builds/{2**63}", None, 400, "illegal_build"),
    # Nonsense inside a message, too.
    (Role.REGION, "POST", "/v1/regions/eu/answers", _answer(target={**TARGET, "root": ""}), 400, "illegal_digest"),
    (Role.REGION, "POST", "/v1/regions/eu/answers", _answer(service="Web"), 400, "illegal_name"),
    (Role.REGION, "POST", "/v1/regions/eu/hello", {**HELLO, "data_key": "0 0"}, 400, "illegal_hello"),
    (Role.REGION, "POST", "/v1/regions/eu/hello", {**HELLO, "data_url": "http://a:99999"}, 422, "illegal_hello"),
    (Role.WORKER, "POST", "/v1/builds/claim", {"worker": "", "wait_s": 0}, 400, "invalid_message"),
    (Role.WORKER, "POST", "/v1/builds/1/uploads", {"token": "t", "blob": "../../etc"}, 400, "invalid_message"),
    (
        Role.WORKER,
        "POST",
        "/v1/builds/1/uploads/content.1/parts",
        {"token": "t", "first": 0, "count": 1},
        400,
        "invalid_message",
    ),
    # Each part is legal, all of it together is not.
    (Role.ADMIN, "PUT", "/v1/services/web", {"name": "api", "repository": "/srv/web"}, 422, "wrong_service"),
    (
        Role.ADMIN,
        "PUT",
        "/v1/services/web",
        {"name": "web", "repository": "/srv/web", "recipe": {"activate": "", "sockets": ["127.0.0.1:80"]}},
        422,
        "illegal_recipe",
    ),
    # Who is too far away learns that, whatever the rest of the message looks like to us.
    (Role.ADMIN, "POST", "/v1/deployments", {"commit": 1, "protocol": 7}, 426, "incompatible_protocol"),
    (Role.ADMIN, "OPTIONS", "/v1/services/web", None, 204, ""),
]


async def test_requests_are_answered_as_the_document_says(control: Any) -> None:
    async with control() as installation, httpx2.AsyncClient(base_url=installation.addresses["api"]) as http:
        paths = (await http.get("/v1/openapi.json")).json()["paths"]
        for role, method, path, body, status, code in REQUESTS:
            headers = {"authorization": f"Bearer {load_or_create(installation.home, role)}"}
            answer = await http.request(method, path, json=body, headers=headers)
            told = answer.json().get("code") if answer.status_code >= 400 else ""
            assert (answer.status_code, told) == (status, code), (path, body, answer.text)
            assert method == "OPTIONS" or str(status) in _operation(paths, method, path)["responses"], path


async def test_options_names_every_method_of_a_path(control: Any) -> None:
    async with control() as installation, httpx2.AsyncClient(base_url=installation.addresses["api"]) as http:
        document = (await http.get("/v1/openapi.json")).json()
        for path, methods in document["paths"].items():
            answer = await http.request("OPTIONS", re.sub(r"{\w+}", "1", path))
            assert set(answer.headers["allow"].split(", ")) == {method.upper() for method in methods} | {"OPTIONS"}, path


async def test_the_document_says_what_a_client_is_made_from(control: Any) -> None:
    async with control() as installation, httpx2.AsyncClient(base_url=installation.addresses["api"]) as http:
        document = (await http.get("/v1/openapi.json")).json()
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    audiences = {"people": "admin", "workers": "worker", "regions": "region"}
    assert [tag["name"] for tag in document["tags"]] == list(audiences)
    for operation in operations:
        name = operation["operationId"]
        assert operation["summary"], name
        assert operation["security"] == [{audiences[tag]: []} for tag in operation["tags"]], name
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (name, parameter["name"])
            assert "null" not in json.dumps(parameter["schema"]), (name, parameter["name"])
            assert "allowEmptyValue" not in parameter, (name, parameter["name"])
            assert parameter["in"] != "header" or not parameter["required"], (name, parameter["name"])
        assert {"401", "403", "503"} <= set(operation["responses"]), name
    for answer in document["components"]["responses"].values():
        assert list(answer["content"]) == ["application/problem+json"]
    headers = {name: list(answer.get("headers", ())) for name, answer in document["components"]["responses"].items()}
    assert (headers["Unauthorized"], headers["ServiceUnavailable"]) == (["WWW-Authenticate"], ["Retry-After"])
    streams = {
        o["operationId"] for o in operations for a in o["responses"].values() if "text/event-stream" in a.get("content", ())
    }
    assert streams == {"list_events", "read_build_log", "get_deployment"}
    schemas = document["components"]["schemas"]
    assert schemas["ServiceSpec"]["properties"]["repository"] == {"pattern": "^(?!-)[^\\x00]+$", "type": "string"}
    assert "additionalProperties" not in schemas["ServiceSpec"], "a newer neighbour may say more"
    assert schemas["ServiceSpec"]["properties"]["trunk"]["description"] == "Commits must be on this branch; empty: any."


async def test_what_is_there_when_nothing_is_said_is_legal(control: Any) -> None:
    async with control() as installation, httpx2.AsyncClient(base_url=installation.addresses["api"]) as http:
        document = (await http.get("/v1/openapi.json")).json()
    properties = {
        f"{name}.{key}": schema
        for name, message in document["components"]["schemas"].items()
        for key, schema in message.get("properties", {}).items()
        if "default" in schema
    }
    assert len(properties) > 100
    refused = {
        name: schema["default"]
        for name, schema in properties.items()
        if not jsonschema_rs.is_valid({**schema, "components": document["components"]}, schema["default"])
    }
    assert refused == {}


def _operation(paths: dict[str, Any], method: str, path: str) -> Any:
    for template, item in paths.items():
        if method.lower() in item and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path.partition("?")[0]):
            return item[method.lower()]
    raise AssertionError(f"no {method} {path} in the document")
