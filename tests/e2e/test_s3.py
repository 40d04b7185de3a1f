"""A company whose main store and one of two regions' buckets are S3-compatible stores, from a commit to machines and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetcast.cli.demo.engines.swift import SECRET, SwiftServer
from place import Place, Repository, bring_up

RECIPE = ("--build", "cp page out", "--output", "out")


@pytest.fixture
def company(temporary: Path, swift: SwiftServer) -> Iterator[Place]:
    swift.create_bucket("company")
    store = f'store_credentials_file = "{swift.write_credentials(temporary / "store.credentials")}"\nstore_url = '

    def use_store(settings: Path) -> None:
        text = settings.read_text()
        text = text.replace("[control]\n", f'[control]\n{store}"{swift.url("company", "main")}"\n')
        text = text.replace('name = "eu"\n', f'name = "eu"\n{store}"{swift.url("company", "eu")}"\n')
        settings.write_text(text)

    place = bring_up(temporary, machines=3, regions=("eu", "us"), edit=use_store)
    yield place
    place.close()


def _keys(swift: SwiftServer) -> set[str]:
    """What is there, seen by a client of somebody else's."""
    return {entry["Key"] for entry in swift.client().list_objects_v2(Bucket="company").get("Contents", ())}


def test_from_a_commit_to_machines_and_back(company: Place, swift: SwiftServer) -> None:
    company.run.wait_for("ready; next")
    company.wait_for_machines(3)
    repository = Repository(company.directory.parent / "web")
    first, second = [repository.commit({"page": text * 100_000}) for text in ("one", "two")]
    assert company.fleetcast("service", "add", "web", str(repository.path), *RECIPE).returncode == 0
    for sha in (first, second):
        done = company.fleetcast("deploy", f"web@{sha}")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    done = company.fleetcast("rollback", "web")
    assert done.returncode == 0, done.stderr
    assert first[:12] in done.stdout

    keys = _keys(swift)
    for store in ("main/builds/", "eu/artifacts/"):
        assert sum(key.startswith(store) and key.endswith("/content") for key in keys) == 2, keys
    for directory in ("control", "regions/eu"):
        assert not (company.directory / directory / "bucket").exists()
    said = company.fleetcast("doctor").stdout
    assert "main store: s3://company/main" in said
    assert "store of eu: s3://company/eu" in said
    logs = company.fleetcast("settings").stdout + company.log("control") + company.log("region-eu")
    assert SECRET not in logs
    assert company.tracebacks() == []
