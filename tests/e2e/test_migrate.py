"""A company outgrows one machine: what it keeps goes to PostgreSQL, etcd and an S3 store, and it goes on with its history."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from fleetcast.cli.demo.engines.etcd import EtcdServer
from fleetcast.cli.demo.engines.postgres import PostgresServer
from fleetcast.cli.demo.engines.swift import SwiftServer
from place import Place, Repository, assert_one_line, bring_up, patched

RECIPE: Final = ("--build", "cp page out", "--output", "out")

KILLED: Final = """
import os, signal
from fleetcast.stores.s3_blobs import S3Blobs

completed = []
original = S3Blobs.complete


async def dying(self, key, upload, parts):
    found = await original(self, key, upload, parts)
    completed.append(key)
    if len(completed) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return found


S3Blobs.complete = dying
"""
"""Ends a move in the middle of the main store's blobs."""


@pytest.fixture
def company(temporary: Path) -> Iterator[Place]:
    place = bring_up(temporary, machines=2)
    yield place
    place.close()


@pytest.fixture
def real(company: Place, postgres: PostgresServer, etcd: EtcdServer, swift: SwiftServer) -> Iterator[Path]:
    """Settings that name real engines."""
    url = company.directory / "secrets" / "database.url"
    url.touch(mode=0o600)
    url.write_text(postgres.create_database("outgrown"))
    swift.create_bucket("outgrown")
    swift.write_credentials(company.directory / "secrets" / "store.credentials")

    def stores(owner: str) -> str:
        store = f'store_credentials_file = "secrets/store.credentials"\nstore_url = "{swift.url("outgrown", owner)}"\n'
        return f'{store}kv_url = "{etcd.url}/outgrown/{owner}"\n'

    text = (company.directory / "settings.toml").read_text()
    text = text.replace("[control]\n", f'[control]\ndatabase_url_file = "secrets/database.url"\n{stores("main")}')
    file = company.directory / "real.toml"
    file.write_text(text.replace("[[region]]\n", f"[[region]]\n{stores('local')}"))
    yield file
    company.end()
    postgres.drop_database("outgrown")


def _keys(swift: SwiftServer) -> set[str]:
    """What is there, seen by a client of somebody else's."""
    return {entry["Key"] for entry in swift.client().list_objects_v2(Bucket="outgrown").get("Contents", ())}


def _history(company: Place) -> list[Any]:
    told = [company.json("status", "web"), company.asked("/v1/deployments")["items"], company.asked("/v1/builds")["items"]]
    return [_lasting(each) for each in told]


def _lasting(value: Any) -> Any:
    """Without what is counted anew from reports."""
    if isinstance(value, dict):
        return {key: _lasting(each) for key, each in value.items() if key in LASTING}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


LASTING: Final = {
    "id", "kind", "state", "status", "service", "environment", "commit_sha", "generation", "epoch", "counter", "artifact",
    "digest", "name", "items", "deployments", "build", "created_at_ms", "ended_at_ms", "sequence", "attempt",
}  # fmt: skip


def test_outgrown(company: Place, real: Path, swift: SwiftServer) -> None:
    company.run.wait_for("ready; next")
    company.wait_for_machines(2)
    repository = Repository(company.directory.parent / "web")
    first, second, third = [repository.commit({"page": os.urandom(200_000)}) for _ in range(3)]
    assert company.fleetcast("service", "add", "web", str(repository.path), *RECIPE).returncode == 0
    for sha in (first, second):
        done = company.fleetcast("deploy", f"web@{sha}")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    before = _history(company)
    assert len(before[1]) == 2
    assert {deployment["commit_sha"] for deployment in before[1]} == {first, second}

    assert_one_line(company.fleetcast("migrate", "--to", str(real)), 4, "answers at .*control's address: stop control")
    company.run.signal(signal.SIGINT)
    company.run.end()
    killed = company.fleetcast("migrate", "--to", str(real), environ=patched(company.directory.parent, KILLED))
    assert killed.returncode == -signal.SIGKILL
    done = company.fleetcast("migrate", "--to", str(real))
    assert done.returncode == 0, done.stderr
    assert "store control: " in done.stderr
    assert "tables: " in done.stdout
    assert f"use {real} instead of" in done.stdout
    keys = _keys(swift)
    for directory, store in (("control", "main"), ("regions/local", "local")):
        assert any(key.startswith(f"{store}/") for key in keys), keys
        (company.directory / directory).rename(company.directory / f"{store}.before")
    for log in (company.directory / "run").glob("*.log"):
        log.unlink()  # what was said of requests that the end interrupted

    (company.directory / "settings.toml").rename(company.directory / "local.before.toml")
    real.rename(company.directory / "settings.toml")
    up = company.start("up", str(company.directory))
    up.wait_for("^ready")
    company.wait_for_machines(2)
    assert _history(company) == before

    # Nothing of the stores is needed for what machines have, and all of it for what they have not.
    done = company.fleetcast("rollback", "web")
    assert done.returncode == 0, done.stderr
    assert first[:12] in done.stdout
    last = company.asked("/v1/deployments")["items"][0]
    assert last["progress"]["bytes"] | {"local": 0} == {"origin": 0, "peer": 0, "local": 0}, last
    done = company.fleetcast("deploy", f"web@{third}")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert company.fleetcast("artifact", "verify", f"web@{second}").returncode == 0
    assert not list((company.directory / "control").rglob("*.db"))
    assert company.tracebacks() == []

    up.signal(signal.SIGINT)
    up.end()
    back = company.directory / "back.toml"
    text = (company.directory / "local.before.toml").read_text().replace("[control]\n", '[control]\ndirectory = "back"\n')
    back.write_text(text.replace("[[region]]\n", '[[region]]\ndirectory = "back-local"\n'))
    moved = company.json("migrate", "--to", str(back))
    assert moved["rows"] > 0
    assert moved["keys"].keys() == moved["blobs"].keys() == {"control", "regions/local"}
    for directory, store in (("back", "main"), ("back-local", "local")):
        root = company.directory / directory / "bucket" / "blobs"
        found = {f"{store}/{path.relative_to(root)}" for path in root.rglob("*") if path.is_file()}
        assert found == {key for key in _keys(swift) if key.startswith(f"{store}/")} != set()
    assert (company.directory / "back" / "fleetcast.db").exists()
