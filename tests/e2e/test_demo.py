"""The demo, once, as it comes; and then everything about it that can be looked at from outside."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

REGIONS = ("ap-south", "eu-west", "us-east")
MACHINES = 12
FIGURES = {
    "service",
    "commit",
    "kind",
    "outcome",
    "build_s",
    "replicate_s",
    "distribute_s",
    "machines_active",
    "machines_total",
    "artifact_bytes",
    "origin_bytes",
    "peer_bytes",
    "local_bytes",
}


def files_of(tree: Path) -> dict[str, str]:
    """SHA-256 of every file below ``tree``, by path."""
    return {
        str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest() for path in tree.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def built(told: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the last deployment's commit consists of, built here, by nobody but git and the example's own script."""
    place = tmp_path_factory.mktemp("built")
    archive = subprocess.run(
        ["git", "archive", told.deployments[-1]["commit"]], cwd=told.directory / "web.git", check=True, capture_output=True
    )
    subprocess.run(["tar", "-x"], cwd=place, input=archive.stdout, check=True)
    subprocess.run([sys.executable, "build.py"], cwd=place, check=True, capture_output=True)
    return files_of(place / "dist")


def test_it_ends_well_and_the_last_line_is_the_figures(told: Any) -> None:
    assert told.code == 0
    assert (told.figures["machines"], told.figures["regions"]) == (MACHINES, len(REGIONS))
    assert set(told.figures) == {"machines", "regions", "deployments"}
    assert [set(deployment) for deployment in told.deployments] == [FIGURES] * 4


def test_it_prints_its_intervals(told: Any) -> None:
    assert any("heartbeat 1 s, silence 5 s, KV poll 1 s" in line for line in told.lines)


def test_three_deployments_and_a_rollback(told: Any) -> None:
    a, b, c, back = told.deployments
    assert [deployment["kind"] for deployment in told.deployments] == ["deploy", "deploy", "deploy", "rollback"]
    assert (a["outcome"], c["outcome"], back["outcome"]) == ("SUCCEEDED", "SUCCEEDED", "SUCCEEDED")
    assert b["outcome"] in ("SUCCEEDED", "SUPERSEDED")
    assert len({a["commit"], b["commit"], c["commit"]}) == 3
    assert back["commit"] == (b if b["outcome"] == "SUCCEEDED" else a)["commit"]
    assert all(d["machines_active"] == d["machines_total"] == MACHINES for d in (a, c, back))


def test_every_byte_is_accounted_for(told: Any) -> None:
    for deployment in told.deployments:
        if deployment["outcome"] == "SUCCEEDED":
            arrived = deployment["origin_bytes"] + deployment["peer_bytes"] + deployment["local_bytes"]
            assert arrived == deployment["artifact_bytes"] * MACHINES


def test_machines_fetch_from_each_other_more_than_from_the_bucket(told: Any) -> None:
    first = told.deployments[0]
    assert first["peer_bytes"] > first["origin_bytes"] >= first["artifact_bytes"] * len(REGIONS)


def test_a_small_change_travels_as_a_small_change(told: Any) -> None:
    third = told.deployments[2]
    assert third["local_bytes"] > third["origin_bytes"] + third["peer_bytes"]


def test_the_rollback_fetches_nothing(told: Any) -> None:
    back = told.deployments[-1]
    assert (back["origin_bytes"], back["peer_bytes"]) == (0, 0)
    assert (back["build_s"], back["replicate_s"]) == (0, 0)
    assert back["distribute_s"] > 0


def test_durations_are_there_where_they_have_a_meaning(told: Any) -> None:
    for deployment in told.deployments:
        assert (deployment["distribute_s"] is not None) == (deployment["outcome"] == "SUCCEEDED")
        assert deployment["build_s"] >= 0


def test_every_part_was_a_process_of_its_own(told: Any) -> None:
    kinds = sorted(line.partition("-m fleetcast ")[2].split()[0] for _, line in told.processes.values())
    assert kinds == ["agent"] * MACHINES + ["control"] + ["region"] * len(REGIONS) + ["worker"] * 2
    assert len({pid for pid, _ in told.processes.values()}) == len(told.processes)


def test_every_machine_runs_the_last_goal(told: Any, built: dict[str, str]) -> None:
    machines = sorted((told.directory / "machines").iterdir())
    assert len(machines) == MACHINES
    for machine in machines:
        current = machine / "services" / "production" / "web" / "current"
        assert current.is_symlink()
        assert files_of(current.resolve()) == built, f"{machine.name} does not have what the commit says"


def test_releases_are_files_of_their_own_without_write_bits(told: Any) -> None:
    links = [
        machine / "services" / "production" / "web" / "current" / "server.py"
        for machine in (told.directory / "machines").iterdir()
    ]
    states = [link.stat() for link in links]
    assert len({(state.st_dev, state.st_ino) for state in states}) == MACHINES
    assert all(state.st_nlink == 1 and not state.st_mode & 0o222 for state in states)


def test_regional_blobs_are_files_of_their_own(told: Any) -> None:
    current = next((told.directory / "machines").iterdir()) / "services" / "production" / "web" / "current"
    digest = current.resolve().parent.name
    buckets = [told.directory / "regions" / region / "bucket" for region in REGIONS]
    copies = [[path for path in bucket.rglob("content") if digest in str(path)] for bucket in buckets]
    assert [len(found) for found in copies] == [1] * len(REGIONS)
    blobs = [found[0] for found in copies]
    for one, other in combinations(blobs, 2):
        assert not one.samefile(other)
        assert one.read_bytes() == other.read_bytes()
    main = [
        path for path in (told.directory / "control" / "bucket").rglob("content") if path.read_bytes() == blobs[0].read_bytes()
    ]
    assert main
    assert all(blob.stat().st_nlink == 1 and not blob.samefile(path) for blob in blobs for path in main)


def test_on_real_engines_it_ends_the_same(told: Any, start: Callable[..., Any], temporary: Path) -> None:
    """PostgreSQL, etcd and an S3 store: of fewer machines and regions, for the time that takes."""
    machines, regions = 3, 2
    demo = start("demo", "--engines", "real", "--json", "--machines", str(machines), "--regions", str(regions))
    assert demo.process.wait(240) == 0
    demo.end()
    for server in ("postgresql", "etcd-control", "etcd-eu-west", "etcd-us-east", "s3"):
        assert any(f"{server} is up at 127." in line for line in demo.lines), f"{server} was not used"
    figures = json.loads(demo.lines[-1])
    assert (figures["machines"], figures["regions"]) == (machines, regions)
    a, b, c, back = figures["deployments"]
    names = ("service", "commit", "kind", "artifact_bytes")
    for one, embedded in zip((a, b, c), told.deployments, strict=False):
        assert [one[name] for name in names] == [embedded[name] for name in names]
    assert (a["outcome"], c["outcome"], back["outcome"]) == ("SUCCEEDED", "SUCCEEDED", "SUCCEEDED")
    assert b["outcome"] in ("SUCCEEDED", "SUPERSEDED")
    assert back["kind"] == "rollback"
    assert back["commit"] == (b if b["outcome"] == "SUCCEEDED" else a)["commit"]
    for ended in (a, c, back):
        assert ended["machines_active"] == ended["machines_total"] == machines
        assert ended["origin_bytes"] + ended["peer_bytes"] + ended["local_bytes"] == ended["artifact_bytes"] * machines
    assert list(temporary.glob("fleetcast-demo-*")) == []


def test_nothing_runs_any_more(told: Any) -> None:
    from fleetcast.launch import sweeper

    assert sweeper.processes_of(told.directory) == []
    assert [pid for pid, _ in told.processes.values() if Path(f"/proc/{pid}").exists()] == []


def test_tokens_are_closed_and_in_no_log(told: Any) -> None:
    secrets = [path for path in (told.directory / "secrets").iterdir() if path.suffix == ".token"]
    assert len(secrets) == 4
    logs = b"".join(path.read_bytes() for path in (told.directory / "run").glob("*.log"))
    assert logs
    for secret in secrets:
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert secret.read_bytes().strip() not in logs
