"""The store of a region's bucket is stopped in the middle of a copy and started again: it ends whole, nothing by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetcast.cli.demo.engines.swift import SwiftServer, swift_server
from fleetcast.model.limits import MIB
from place import Place, Repository, bring_up
from running import wait_until

BUCKET = "far"
CONTENT_MIB = 96
PART_MIB = 8
SLOW_BYTES_PER_S = 8 * MIB
"""A copy of all takes twelve seconds."""


@pytest.fixture(autouse=True)
def _watched() -> None:
    """No service of another test runs here that could be watched."""


@pytest.fixture(scope="module")
def swift() -> Iterator[SwiftServer]:
    """One that nobody else needs while it is stopped."""
    with swift_server() as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def place(tmp_path: Path, swift: SwiftServer) -> Iterator[Place]:
    def edit(file: Path) -> None:
        credentials = swift.write_credentials(file.parent / "secrets" / "s3")
        named = '[[region]]\nname = "far"\n'
        store = f'store_url = "{swift.url(BUCKET)}"\nstore_credentials_file = "{credentials}"\n'
        text = file.read_text()
        assert named in text
        file.write_text(text.replace(named, f"{named}{store}copy_bytes_per_s = {SLOW_BYTES_PER_S}\n"))

    place = bring_up(tmp_path, regions=("far",), edit=edit)
    try:
        place.run.wait_for("^ready")
        place.wait_for_machines(1)
        yield place
    finally:
        place.close()


def parts(client: Any) -> int:
    """How many the one upload that is open there holds; 0: none is."""
    uploads = client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    if not uploads:
        return 0
    held = client.list_parts(Bucket=BUCKET, Key=uploads[0]["Key"], UploadId=uploads[0]["UploadId"])
    return len(held.get("Parts", []))


def copies(place: Place) -> list[dict[str, Any]]:
    """Of the region, as control knows of them from its reports: a moment later than it itself does."""
    shown: list[dict[str, Any]] = place.json("status", "far")["copies"]
    return shown


def test_in_the_middle_of_a_copy(place: Place, swift: SwiftServer, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "web")
    sha = repository.commit({"make.sh": f"mkdir out && head -c {CONTENT_MIB * MIB} /dev/urandom > out/payload"})
    recipe = ("--build", "sh make.sh", "--output", "out")
    assert place.fleetcast("service", "add", "web", str(repository.path), *recipe).returncode == 0
    client = swift.client()
    deploying = place.start("deploy", f"web@{sha}", "--settings", str(place.directory / "settings.toml"))
    wait_until(lambda: 1 <= parts(client) <= CONTENT_MIB // PART_MIB - 3, "a part of the copy is in the store")
    swift.stop()
    wait_until(lambda: "copy_failed" in place.log("region-far"), "the copy fails")
    wait_until(lambda: any(copy["error"] for copy in copies(place)), "it says why it does not go on")
    assert [copy["given_up"] for copy in copies(place)] == [False]
    assert "FAILED" not in place.fleetcast("artifact", "show", f"web@{sha}").stdout
    swift.start()
    assert parts(client) >= 1, "what it held is not there: nothing can go on from it"
    # And while it is slow, somebody lifts the limit: it is heard of within seconds, not at the next start.
    file = place.directory / "settings.toml"
    file.write_text(file.read_text().replace(f"copy_bytes_per_s = {SLOW_BYTES_PER_S}", "copy_bytes_per_s = 0"))
    deploying.wait_for("SUCCEEDED")
    assert deploying.end() == 0
    shown = place.json("artifact", "show", f"web@{sha}")
    assert [(copy["bucket"], copy["status"]) for copy in shown["replicas"]] == [("far", "COMPLETE")]
    digest = shown["replicas"][0]["digest"]
    body = client.get_object(Bucket=BUCKET, Key=f"artifacts/{digest}/content")["Body"].read()
    [built] = place.directory.glob("machines/*/services/production/web/current/payload")
    assert hashlib.sha256(body).digest() == hashlib.sha256(built.read_bytes()).digest()
    assert client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == [], "nothing is left half written"
    assert place.tracebacks() == []
