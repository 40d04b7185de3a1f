"""A company whose database is a PostgreSQL server, from a commit to machines and back, with two control processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetcast.cli.demo.engines.postgres import PASSWORD, PostgresServer
from place import Place, Repository, bring_up
from running import command_lines

RECIPE = ("--build", "cp page out", "--output", "out")


@pytest.fixture
def company(temporary: Path, postgres: PostgresServer) -> Iterator[Place]:
    url = postgres.create_database("company")

    def keep_url(settings: Path) -> None:
        file = settings.parent / "secrets" / "database.url"
        file.touch(0o600)
        file.write_text(url)

    place = bring_up(temporary, control={"database_url_file": "secrets/database.url"}, edit=keep_url)
    yield place
    place.close()
    postgres.drop_database("company")


def _second_control(place: Place, until: Callable[..., None]) -> str:
    """The address of another one, of the same installation."""
    ready, settings = place.directory / "run" / "second.ready", str(place.directory / "settings.toml")
    ports = ("--set", "control.port=0", "--set", "control.data_port=0")
    place.start("control", "--settings", settings, *ports, "--ready-file", str(ready))
    until(ready.exists, "a second control process is ready")
    return str(json.loads(ready.read_text())["api"])


def _status(place: Place, control_url: str) -> Any:
    done = place.fleetcast("status", "--json", environ={"FLEETCAST_CONTROL_URL": control_url})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_from_a_commit_to_machines_and_back_with_two_control_processes(company: Place, until: Callable[..., None]) -> None:
    company.run.wait_for("ready; next")
    company.wait_for_machines(1)
    repository = Repository(company.directory.parent / "web")
    first, second, third = [repository.commit({"page": text}) for text in ("one", "two", "three")]
    assert company.fleetcast("service", "add", "web", str(repository.path), *RECIPE).returncode == 0
    for sha in (first, second):
        done = company.fleetcast("deploy", f"web@{sha}")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    done = company.fleetcast("rollback", "web")
    assert done.returncode == 0, done.stderr
    assert first[:12] in done.stdout

    # The worker waits at the first one for what the second one is asked for.
    other = _second_control(company, until)
    done = company.fleetcast("deploy", f"web@{third}", environ={"FLEETCAST_CONTROL_URL": other})
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    newest = [[one["commit_sha"] for one in _status(company, url)["deployments"]] for url in (company.url, other)]
    assert newest == [[third], [third]]

    assert "PostgreSQL" in company.fleetcast("doctor").stdout
    assert PASSWORD not in company.fleetcast("settings").stdout + company.log("control")
    assert not any(PASSWORD in line for line in command_lines(company.directory))
    assert company.tracebacks() == []


def test_a_server_that_does_not_answer_or_refuses_is_one_line(temporary: Path, postgres: PostgresServer) -> None:
    wrong = postgres.url("postgres", password="not-the-password")
    place = bring_up(temporary, control={"database_url": wrong})
    try:
        said = place.run.wait_for("control cannot start")
        assert "refuses us" in said
        assert "correct user and password" in said
        assert "not-the-password" not in "".join(place.run.lines)
    finally:
        place.close()
