"""Names that do not exist, are none, or are taken: what is said, and that nothing is half-registered."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Check = Callable[..., str]
SHA = "1" * 40


@pytest.fixture(scope="module")
def place(start_place: Callable[..., Any]) -> Any:
    return start_place(machines=2)


@pytest.fixture(autouse=True, scope="module")
def well_afterwards(place: Any) -> Iterator[None]:
    place.good("before")
    yield
    place.good("before")
    assert place.tracebacks() == []


def services(place: Any) -> str:
    return str(place.fleetcast("service", "list").stdout)


@pytest.mark.parametrize("name", ["Web", "we_b", "web-", "w" * 64, "", "w\u00e9b", "a/b", "a b"])
def test_a_service_with_an_illegal_name(place: Any, one_line: Check, name: str) -> None:
    before = services(place)
    one_line(place.fleetcast("service", "add", name, "file:///repo"), 2, "is not a legal name: use 1 to 63 of a-z, 0-9 and '-'")
    assert services(place) == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--region", "Bad!"), "region 'Bad!' is not a legal name"),
        (("--label", "no-equals-sign"), "expected KEY=VALUE"),
        (("--max-unavailable", "0"), "with less than 1 nothing could ever be replaced"),
        (("--trunk=-x",), "must not start with '-'"),
    ],
)
def test_a_service_that_is_described_wrongly(place: Any, one_line: Check, arguments: tuple[str, ...], reason: str) -> None:
    before = services(place)
    one_line(place.fleetcast("service", "add", "wrong", "file:///repo", *arguments), 2, reason)
    assert services(place) == before


def test_a_service_whose_repository_is_not_what_it_was_meant_to_be(
    place: Any, one_line: Check, tmp_path: Path, make_repository: Callable[..., Any]
) -> None:
    repository = make_repository(tmp_path / "web")
    empty = place.fleetcast("service", "add", "blank", str(repository.path))
    assert (empty.returncode, "its repository is empty" in empty.stdout) == (0, True)
    before = services(place)
    one_line(place.fleetcast("service", "add", "wrong", "src/web"), 3, "there is no repository src/web, seen from /")
    one_line(place.fleetcast("service", "add", "wrong", str(tmp_path)), 2, f"{tmp_path} is no git repository")
    repository.commit({"README": "one"})
    repository.git("branch", "--move", "master")
    one_line(place.fleetcast("service", "add", "wrong", str(repository.path)), 3, "has no branch 'main'", "say --trunk master")
    assert services(place) == before


def test_a_service_added_twice_is_described_anew(place: Any) -> None:
    assert "is set up" in place.fleetcast("service", "add", "twice", "file:///repo/one").stdout
    more = ("--label", "role=api", "--max-unavailable", "2", "--health", "./check")
    changed = place.fleetcast("service", "add", "twice", "file:///repo/two", *more).stdout
    assert changed == (
        "service twice changed: repository file:///repo/two (was: file:///repo/one), runs on role=api (was: every machine), "
        "max-unavailable 2 (was: any number), health ./check (was: as the commit says)\n"
    )
    assert place.fleetcast("service", "add", "twice", "file:///repo/two", *more).stdout == "service twice is as it was\n"
    shown = place.fleetcast("service", "show", "twice").stdout
    assert shown.endswith("runs on role=api\n  max-unavailable: 2\n  health: ./check\n")
    assert services(place).count("twice") == 1
    assert "file:///repo/two" in services(place)


@pytest.mark.parametrize("verb", [("deploy", f"nosuch@{SHA}"), ("rollback", "nosuch"), ("service", "show", "nosuch")])
def test_a_service_that_does_not_exist(place: Any, one_line: Check, verb: tuple[str, ...]) -> None:
    one_line(place.fleetcast(*verb), 3, "there is no service 'nosuch': fleetcast service list shows those there are")


@pytest.mark.parametrize("verb", ["watch", "abort"])
def test_a_deployment_that_does_not_exist(place: Any, one_line: Check, verb: str) -> None:
    one_line(place.fleetcast(verb, "0123456789abcdef"), 3, "there is no deployment 0123456789abcdef")


def test_a_region_that_does_not_exist(place: Any, one_line: Check) -> None:
    one_line(place.fleetcast("drain", "moon"), 3, "there is no region 'moon': fleetcast status lists them")
    one_line(place.fleetcast("drain", "Mo on"), 2, "not a legal name")


def test_a_machine_that_does_not_exist(place: Any, one_line: Check) -> None:
    one_line(place.fleetcast("machine", "retire", "nosuch"), 3, "there is no machine 'nosuch'", "machine list")


@pytest.mark.parametrize("selection", [("--region", "moon"), ("--label", "role=none"), ("--zone", "none")])
def test_a_service_that_selects_no_machine(place: Any, one_line: Check, selection: tuple[str, ...]) -> None:
    assert place.fleetcast("service", "add", "nowhere", "file:///repo", *selection).returncode == 0
    one_line(
        place.fleetcast("deploy", f"nowhere@{SHA}"), 4, "selects no machine", "start agents that match", "change its selector"
    )
    assert "no deployments" in place.fleetcast("status", "nowhere").stdout, "nothing was begun"


class TestTwins:
    """Agents from another host's settings."""

    def settings(self, place: Any, tmp_path: Path, machine: str, region: str) -> Path:
        """Of one agent elsewhere that asks this installation's region."""
        secrets, keys = place.directory / "secrets", place.directory / "keys"
        address = json.loads((place.directory / "run" / "region-local.ready").read_text())["api"]
        lines = {
            "machine": machine,
            "region": region,
            "region_url": address,
            "token_file": str(secrets / "agent.token"),
        }
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
        file = tmp_path / "settings.toml"
        file.write_text(f'[[agent]]\n{text}worker_public_keys = ["{keys}/worker.pub"]\n')
        return file

    def alarms(self, place: Any) -> str:
        return "\n".join(line for line in place.fleetcast("status").stdout.splitlines() if line.startswith("alarm: "))

    def test_the_second_machine_of_one_id_is_told_and_the_first_goes_on(
        self, place: Any, tmp_path: Path, start: Callable[..., Any], until: Callable[..., None]
    ) -> None:
        second = start("agent", "--settings", str(self.settings(place, tmp_path, "local-1", "local")))
        second.wait_for("another agent is running with the id local-1: give each machine its own id")
        until(lambda: "another agent is running with the id local-1" in self.alarms(place), "people are told, too")
        place.good("beside-a-twin")
        current = place.directory / "machines/local-1/services/production/beside-a-twin/current"
        assert current.exists(), "the first one runs it"
        assert not (tmp_path / "machines/local-1/services/production/beside-a-twin/current").exists()
        second.signal(signal.SIGTERM)
        assert second.end() == 0
        assert "Traceback" not in "\n".join(second.lines)

    def test_a_machine_that_claims_another_region(
        self, place: Any, tmp_path: Path, start: Callable[..., Any], until: Callable[..., None]
    ) -> None:
        stray = start("agent", "--settings", str(self.settings(place, tmp_path, "far-1", "moon")))
        stray.wait_for("machine far-1 says it is in moon, this is local: correct its settings")
        until(lambda: "machine far-1 says it is in moon" in self.alarms(place), "people are told, too")
        stray.signal(signal.SIGTERM)
        assert stray.end() == 0
        assert "far-1" not in place.fleetcast("machine", "list").stdout
