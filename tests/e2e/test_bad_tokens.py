"""Tokens that are wrong, missing, readable by others, or replaced while processes run."""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from place import show_gates

Check = Callable[..., str]


@pytest.fixture(scope="module")
def place(start_place: Callable[..., Any]) -> Any:
    place = start_place(machines=1, edit=show_gates)
    place.good()
    return place


def token_file(directory: Path, text: str, mode: int = 0o600) -> str:
    path = directory / "token"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_one_that_nobody_knows(place: Any, one_line: Check, tmp_path: Path) -> None:
    done = place.fleetcast("status", "--token-file", token_file(tmp_path, "nobodys\n"))
    one_line(done, 4, "this token is not known here: use the one of this installation", "unknown_token")


@pytest.mark.parametrize("role", ["worker", "region", "agent"])
def test_one_of_another_role(place: Any, one_line: Check, role: str) -> None:
    token = str(place.directory / "secrets" / f"{role}.token")
    one_line(place.fleetcast("status", "--token-file", token), 4, f"a token for {role} may not do this: use the one for admin")


def test_a_file_that_is_missing_open_or_empty(place: Any, one_line: Check, tmp_path: Path) -> None:
    one_line(place.fleetcast("status", "--token-file", str(tmp_path / "none")), 3, "there is no token file", "copy it")
    open_file = token_file(tmp_path, "secret\n", 0o644)
    line = one_line(place.fleetcast("status", "--token-file", open_file), 2, "others may read", "run chmod 600 on it")
    assert "secret" not in line
    one_line(place.fleetcast("status", "--token-file", token_file(tmp_path, "\n")), 2, "is empty")


@pytest.mark.parametrize("process", ["worker", "region", "agent"])
def test_a_process_with_a_file_that_others_may_read(place: Any, one_line: Check, tmp_path: Path, process: str) -> None:
    where = ("--settings", str(place.directory / "settings.toml"))
    open_file = token_file(tmp_path, "secret\n", 0o644)
    done = place.fleetcast(process, *where, "--set", f"{process}.token_file={open_file}")
    one_line(done, 2, f"others may read {open_file}: run chmod 600 on it")


def test_a_restarted_process_waits_for_its_file_to_be_closed_again(place: Any, until: Callable[..., None]) -> None:
    file = place.directory / "secrets" / "worker.token"
    before = place.pid("worker-1")
    file.chmod(0o644)
    os.kill(before, signal.SIGKILL)
    place.run.wait_for("worker-1: ended .ended with exit code 2, starting it again")
    assert place.log("worker-1").splitlines()[-1].startswith("fleetcast: others may read")
    file.chmod(0o600)
    place.run.wait_for("worker-1: ready")
    place.good()


def test_a_late_call_of_an_attempt_that_was_replaced(
    place: Any, until: Callable[..., None], make_repository: Callable[..., Any]
) -> None:
    """A worker is killed; its successor hands the build back and claims it again. What the killed one still says is refused."""
    go = place.directory.parent / "go"
    repository = make_repository(place.directory.parent / "late")
    sha = repository.commit({"README": "late"})
    recipe = ("--build", f"until test -e {go}; do sleep 0.1; done; date > out", "--output", "out")
    assert place.fleetcast("service", "add", "late", str(repository.path), *recipe).returncode == 0
    deployment = place.json("deploy", f"late@{sha}", "--no-wait")["id"]

    def job() -> Any:
        with closing(sqlite3.connect(f"file:{place.directory / 'control/fleetcast.db'}?mode=ro", uri=True)) as database:
            row = database.execute("SELECT id, attempt, token, status FROM jobs WHERE commit_sha = ?", (sha,)).fetchone()
        return row or (0, 0, None, "")

    until(lambda: job()[3] == "RUNNING", "the build is claimed")
    build, _, token, _ = job()
    os.kill(place.pid("worker-1"), signal.SIGKILL)
    until(lambda: (job()[1], job()[3]) == (2, "RUNNING"), "it is claimed again")
    key = (place.directory / "secrets" / "worker.token").read_text().strip()
    with httpx2.Client(base_url=place.url, headers={"authorization": f"Bearer {key}"}) as worker:
        answer = worker.post(f"/v1/builds/{build}/heartbeat", json={"token": token})
    assert (answer.status_code, answer.json()["code"]) == (409, "stale_token")
    assert "\n" not in answer.json()["detail"]
    assert job()[3] == "RUNNING"
    go.touch()
    assert "SUCCEEDED" in place.fleetcast("watch", deployment).stdout


def test_tokens_that_are_replaced_while_processes_run(place: Any, one_line: Check, until: Callable[..., None]) -> None:
    """Who was not restarted is refused, and says so; with the new ones and a restart everybody is back."""
    old = place.directory / "secrets" / "old-admin.token"
    old.write_bytes((place.directory / "secrets" / "admin.token").read_bytes())
    old.chmod(0o600)
    for role in ("admin", "worker", "region", "agent"):
        (place.directory / "secrets" / f"{role}.token").write_text(secrets.token_urlsafe(32) + "\n")

    def restart(process: str) -> None:
        os.kill(place.pid(process), signal.SIGKILL)
        place.run.wait_for(f"{process}: ready")

    def says(process: str) -> None:
        until(lambda: "this token is not known here" in place.log(process), f"{process} says why it is refused")

    restart("control")
    one_line(place.fleetcast("status", "--token-file", str(old)), 4, "this token is not known here")
    assert place.fleetcast("status").returncode == 0, "the command line reads the new one"
    says("worker-1")
    says("region-local")
    restart("region-local")
    says("agent-local-1")
    restart("worker-1")
    restart("agent-local-1")
    place.good()
    assert place.tracebacks() == []
