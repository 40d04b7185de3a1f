"""A company whose key-value stores, the global one and its region's, are on etcd: from a commit to a machine and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from lab.etcd import EtcdServer
from place import Place, Repository, bring_up

RECIPE: Final = ("--build", "cp page out", "--output", "out")


@pytest.fixture
def company(temporary: Path, etcd: EtcdServer) -> Iterator[Place]:
    prefix = f"{etcd.url}/{uuid4().hex}"

    def on_etcd(settings: Path) -> None:
        text = settings.read_text()
        text = text.replace("[control]\n", f'[control]\nkv_url = "{prefix}/global"\n')
        settings.write_text(text.replace("[[region]]\n", f'[[region]]\nkv_url = "{prefix}/local"\n'))

    place = bring_up(temporary, edit=on_etcd)
    yield place
    place.close()


def test_from_a_commit_to_a_machine_and_back(company: Place) -> None:
    company.run.wait_for("ready; next")
    company.wait_for_machines(1)
    repository = Repository(company.directory.parent / "web")
    first, second = [repository.commit({"page": text}) for text in ("one", "two")]
    assert company.fleetcast("service", "add", "web", str(repository.path), *RECIPE).returncode == 0
    for sha in (first, second):
        done = company.fleetcast("deploy", f"web@{sha}")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
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
