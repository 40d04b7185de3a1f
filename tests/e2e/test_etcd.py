"""A company whose key-value stores, the global one and its region's, are on etcd: from a commit to a machine and back,
with the cluster away for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from fleetcast.cli.demo.engines.etcd import EtcdServer, etcd_server
from place import Place, Repository, bring_up
from running import wait_until

RECIPE: Final = ("--build", "cp page out", "--output", "out")


@pytest.fixture
def cluster() -> Iterator[EtcdServer]:
    """One that this test may stop."""
    with etcd_server() as server:
        yield server


@pytest.fixture
def company(temporary: Path, cluster: EtcdServer) -> Iterator[Place]:
    prefix = f"{cluster.url}/company"

    def on_etcd(settings: Path) -> None:
        text = settings.read_text()
        text = text.replace("[control]\n", f'[control]\nkv_url = "{prefix}/global"\n')
        settings.write_text(text.replace("[[region]]\n", f'[[region]]\nkv_url = "{prefix}/local"\n'))

    place = bring_up(temporary, edit=on_etcd)
    yield place
    place.close()


def test_from_a_commit_to_a_machine_and_back(company: Place, cluster: EtcdServer) -> None:
    company.run.wait_for("ready; next")
    company.wait_for_machines(1)
    repository = Repository(company.directory.parent / "web")
    first, second = [repository.commit({"page": text}) for text in ("one", "two")]
    assert company.fleetcast("service", "add", "web", str(repository.path), *RECIPE).returncode == 0
    done = company.fleetcast("deploy", f"web@{first}")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout

    cluster.stop()
    deploying = company.start("deploy", f"web@{second}", "--settings", str(company.directory / "settings.toml"))
    for process in ("control", "region-local"):
        wait_until(lambda process=process: "are its servers running" in company.log(process), f"{process} misses etcd")
    cluster.start()
    deploying.wait_for("SUCCEEDED")
    assert deploying.end() == 0

    done = company.fleetcast("rollback", "web")
    assert done.returncode == 0, done.stderr
    assert first[:12] in done.stdout

    said = company.fleetcast("doctor").stdout
    assert "global kv: etcd 3." in said
    assert "kv local: etcd 3." in said
    assert list(company.directory.rglob("kv.db")) == [], "nothing of it is in files"
    assert company.tracebacks() == []


def test_nobody_there_is_one_line(temporary: Path) -> None:
    def nowhere(settings: Path) -> None:
        settings.write_text(settings.read_text().replace("[control]\n", '[control]\nkv_url = "etcd://127.0.0.1:1/company"\n'))

    place = bring_up(temporary, edit=nowhere)
    try:
        said = place.run.wait_for("control cannot start")
        assert "etcd at 127.0.0.1:1" in said
        assert "are its servers running" in said
    finally:
        place.close()
