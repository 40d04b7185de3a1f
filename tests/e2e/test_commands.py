"""The commands around a deployment, against one running installation: building, looking, taking out, naming, and the doctor."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import re
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetcast.artifacts.signing import generate_key
from fleetcast.cli.demo.repository import make_example
from fleetcast.launch import installation
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from place import small_installation

COLLIDING = 1500
"""Commits among which two that begin with the same four digits are certain, near enough."""


class Installation:
    """A running ``fleetcast up --json`` with one region and a machine; ``web`` is set up, and built at ``main``."""

    def __init__(self, home: Path, run: Any) -> None:
        self.home = home
        self.run = run
        self.repository = home / "web"
        self.data = home / "fleetcast-data"

    def fleetcast(self, *arguments: str, cwd: Path | None = None, settings: bool = True) -> subprocess.CompletedProcess[str]:
        known = {"FLEETCAST_SETTINGS": str(self.data / "settings.toml")} if settings else {}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("FLEETCAST_", "GIT_"))}
        done = subprocess.run(
            [*self.run.process.args[:3], *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**inherited, **known},
            cwd=cwd or self.home,
        )
        assert "Traceback" not in done.stderr
        return done

    def head(self, name: str = "main") -> str:
        return git(self.repository, "rev-parse", name)

    def content(self) -> Path:
        """Where the main store keeps the content of what was built first."""
        return max((self.data / "control" / "bucket").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)


def git(where: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Bo", "-c", "user.email=bo@example.org"]
    return subprocess.run(["git", *who, *arguments], cwd=where, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("commands")
    make_example(home / "web", 1 << 20)
    with small_installation(home / "fleetcast-data", 1, flags=("--json",), ready='"child":"","what":"ready"') as run:
        up = Installation(home, run)
        assert up.fleetcast("service", "add", "web", str(up.repository)).returncode == 0
        built = up.fleetcast("build", "web@main")
        assert built.returncode == 0, built.stderr
        yield up


def test_up_tells_its_events_as_json_lines(installed: Installation) -> None:
    events = [json.loads(line) for line in installed.run.lines]
    assert {(event["child"], event["what"]) for event in events} >= {
        ("control", "ready"),
        ("worker-1", "started"),
        ("", "ready"),
    }


def test_a_commit_is_built_once_and_a_deploy_takes_it(installed: Installation, until: Callable[..., None]) -> None:
    again = installed.fleetcast("build", "web@main", "--json")
    assert (again.returncode, json.loads(again.stdout)["id"]) == (0, 1)
    until(lambda: len(json.loads(installed.fleetcast("machine", "list", "--json").stdout)) == 1, "the machine reports")
    deployed = installed.fleetcast("deploy", f"web@{installed.head()[:7]}", "--json")
    deployment = json.loads(deployed.stdout)
    assert (deployment["state"], deployment["build"], deployment["build_s"]) == ("SUCCEEDED", None, 0)
    assert deployed.stderr.startswith(f"web@{installed.head()[:7]} is {installed.head()[:12]} (")
    for what in ("1", "web@main", f"web/{installed.head()}", deployment["id"]):
        assert "built 1," in installed.fleetcast("logs", what, "--follow").stdout
    pages = [json.loads(line) for line in installed.fleetcast("logs", "1", "--json").stdout.splitlines()]
    assert "built 1," in "".join(page["text"] for page in pages)


def test_a_build_that_fails_shows_its_last_words(installed: Installation) -> None:
    repository = str(installed.repository)
    installed.fleetcast("service", "add", "sick", repository, "--build", "seq 1 900; echo last words; exit 3", "--output", "x")
    failed = installed.fleetcast("build", "sick@main")
    assert failed.returncode == 1
    assert re.search(r"build \d+ of sick@[0-9a-f]{12} FAILED: .*3", failed.stdout)
    lines = failed.stderr.splitlines()
    assert re.search(r"the last lines of build \d+, all of them with: fleetcast logs \d+$", lines[0])
    assert "  last words" in lines[-3:]
    assert len(lines) <= 21
    assert "\n1\n" in installed.fleetcast("logs", "sick@main").stdout
    ordered = installed.fleetcast("build", "sick@main", "--no-wait")
    assert ordered.returncode == 0
    assert "to follow it: fleetcast logs" in ordered.stdout


def test_artifacts_are_listed_and_shown(installed: Installation) -> None:
    short = f"web@{installed.head()[:12]}"
    assert short in installed.fleetcast("artifact", "list").stdout
    assert short in installed.fleetcast("artifact", "list", "web", "--limit", "1").stdout
    page = json.loads(installed.fleetcast("artifact", "list", "web", "--json").stdout)
    assert [item["commit_sha"] for item in page["items"]] == [installed.head()]
    shown = installed.fleetcast("artifact", "show", short)
    assert shown.returncode == 0
    assert "activate: exec python3" in shown.stdout
    assert installed.fleetcast("artifact", "list", "none").returncode == 3


def test_an_artifact_is_taken_out_and_verified(installed: Installation, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = installed.fleetcast("artifact", "export", "web@main", str(out))
    assert done.returncode == 0, done.stderr
    assert "signature and every chunk verified" in done.stdout
    assert installed.fleetcast("artifact", "export", "web@main", str(out)).returncode == 4, "not over what is there"
    current = installed.data / "machines" / "local-1" / "services" / "production" / "web" / "current"
    for place in ((), ("--path", str(out)), ("--path", str(current))):
        assert installed.fleetcast("artifact", "verify", "web@main", *place).returncode == 0
    exported = json.loads(
        installed.fleetcast("artifact", "export", "web@main", "--tar", "web.tar", "--json", cwd=tmp_path).stdout
    )
    with tarfile.open(tmp_path / "web.tar") as archive:
        assert {member.name for member in archive if member.isfile()} == {
            str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()
        }
    assert (exported["signed"], exported["files"]) == (True, 4)
    (out / "page.html").write_text("defaced")
    (out / "extra").touch()
    wrong = installed.fleetcast("artifact", "verify", "web@main", "--path", str(out))
    assert wrong.returncode == 1
    assert "'page.html' has 7 bytes, not" in wrong.stdout
    assert "'extra' is not in the artifact" in wrong.stdout


def test_a_tar_on_standard_output_is_nothing_but_a_tar(installed: Installation) -> None:
    settings = str(installed.data / "settings.toml")
    argv = [*installed.run.process.args[:3], "artifact", "export", "web@main", "--tar", "-", "--settings", settings]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert "server.py" in archive.getnames()


def test_without_a_key_nobody_is_believed(installed: Installation, tmp_path: Path) -> None:
    control = json.loads((installed.data / "run" / "control.ready").read_text())["api"]
    at = ("--control-url", control, "--token-file", str(installed.data / "secrets" / "admin.token"))
    sha = installed.head()
    generate_key(tmp_path / "other.key", tmp_path / "other.pub")
    for arguments, code, says in (
        ((), 4, "no_worker_key"),
        (("--key", str(tmp_path / "other.pub")), 1, "none of the installed worker keys signed it"),
        (("--key", str(tmp_path / "none.pub")), 2, "not_a_key"),
    ):
        done = installed.fleetcast("artifact", "export", f"web@{sha}", str(tmp_path / "out"), *at, *arguments, settings=False)
        assert (done.returncode, says in done.stderr, done.stderr.count("\n")) == (code, True, 1)
        assert not list(tmp_path.glob("*out*"))
    for given in (("--unsigned",), ("--key", str(installed.data / "keys" / "worker.pub"))):
        done = installed.fleetcast("artifact", "verify", f"web@{sha}", *at, *given, settings=False)
        assert done.returncode == 0, done.stderr


def test_a_store_that_decays_is_noticed_and_nothing_is_left(installed: Installation, tmp_path: Path) -> None:
    blob = installed.content()
    mode, whole = blob.stat().st_mode, blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        done = installed.fleetcast("artifact", "export", "web@main", str(tmp_path / "out"))
        assert done.returncode == 1
        assert "is not what was built [corrupt_source]" in done.stderr
        assert list(tmp_path.iterdir()) == []
        found = json.loads(installed.fleetcast("artifact", "verify", "web@main", "--json").stdout)
        assert (found["ok"], found["different"] > 0) == (False, True)
    finally:
        blob.write_bytes(whole)
        blob.chmod(mode)
    assert installed.fleetcast("artifact", "verify", "web@main").returncode == 0


def test_a_name_is_looked_up_in_the_repository(installed: Installation) -> None:
    git(installed.repository, "tag", "-a", "v1", "-m", "one", "main~1")
    for revision in ("v1", "main~1", installed.head("main~1")[:8]):
        done = installed.fleetcast("build", f"web@{revision}", "--json")
        assert json.loads(done.stdout)["commit_sha"] == installed.head("main~1"), revision
        assert f"web@{revision} is {installed.head('main~1')[:12]} (Say 'Hello from the whole fleet')" in done.stderr
    unknown = installed.fleetcast("deploy", "web@no-such-branch")
    assert unknown.returncode == 3
    assert "git log" in unknown.stderr
    assert installed.fleetcast("rollback", "web", "--to", "no-such-branch").returncode == 3
    assert "already" in installed.fleetcast("rollback", "web", "--to", "main").stderr
    assert installed.fleetcast("build", "none@main").returncode == 3


def test_a_name_is_looked_up_in_the_clone_one_stands_in_or_at_the_url(installed: Installation, tmp_path: Path) -> None:
    url = f"file://{installed.repository}"
    installed.fleetcast("service", "add", "far", url)
    asked = installed.fleetcast("build", "far@main", "--json", cwd=tmp_path)
    assert json.loads(asked.stdout)["commit_sha"] == installed.head(), "by ls-remote"
    known = installed.fleetcast("artifact", "show", f"far@{installed.head()[:5]}", cwd=tmp_path)
    assert known.returncode == 0, "control knows it by its build"
    assert f"far@{installed.head()[:5]} is {installed.head()[:12]}" in known.stdout
    first = installed.head("main~2")
    assert installed.fleetcast("build", f"far@{first[:10]}", cwd=tmp_path).returncode == 3, "nobody here knows it"
    git(tmp_path, "clone", "--quiet", url, "clone")
    git(tmp_path / "clone", "checkout", "--quiet", "--detach", first)
    for revision in ("HEAD", first[:10]):
        done = installed.fleetcast("build", f"far@{revision}", "--json", cwd=tmp_path / "clone")
        assert json.loads(done.stdout)["commit_sha"] == first


def test_digits_that_may_mean_several_commits_are_refused(installed: Installation, tmp_path: Path) -> None:
    repository = tmp_path / "many"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "many")
    who = "committer Bo <bo@example.org> 1767603600 +0000"
    stream = "".join(f"commit refs/heads/main\n{who}\ndata <<E\nnumber {number}\nE\n\n" for number in range(COLLIDING))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repository, input=stream, text=True, check=True)
    commits = sorted(git(repository, "rev-list", "main").splitlines())
    first, second = next((one, other) for one, other in itertools.pairwise(commits) if one[:4] == other[:4])
    installed.fleetcast("service", "add", "many", str(repository))
    refused = installed.fleetcast("deploy", f"many@{first[:4]}")
    assert refused.returncode == 4
    assert f"{first[:12]} (number " in refused.stderr
    assert f"{second[:12]} (number " in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert installed.fleetcast("deploy", f"many@{first[:3]}").returncode == 3, "three digits are no beginning"
    assert installed.fleetcast("status", "many").stdout.startswith("many has no deployments"), "nothing was triggered"


def test_settings_say_where_they_come_from(installed: Installation) -> None:
    said = installed.fleetcast("settings", "--set", "control.reaper_interval_s=7")
    assert re.search(r"reaper_interval_s +7 +--set control.reaper_interval_s=7", said.stdout)
    assert re.search(r"replicate_s_max +1800 +default", said.stdout)
    found = json.loads(installed.fleetcast("settings", "--json").stdout)
    assert all(item["about"] for item in found)
    refused = installed.fleetcast("settings", "--set", "control.prot=1")
    assert (refused.returncode, "did you mean 'port'?" in refused.stderr) == (2, True)


def test_the_doctor_finds_nothing_and_then_what_is_wrong(installed: Installation, tmp_path: Path) -> None:
    well = installed.fleetcast("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(well.stdout)}
    assert well.returncode == 0, well.stdout
    assert {"python", "libraries", "git", "settings", "secrets", "ports", "clock", "control", "token"} <= checks.keys()
    for name in ("ports", "clock", "control", "token", "region local", "bucket local", "machines"):
        assert checks[name]["verdict"] == "ok", checks[name]
    secret = installed.data / "secrets" / "worker.token"
    secret.chmod(0o644)
    try:
        ill = installed.fleetcast("doctor")
    finally:
        secret.chmod(0o600)
    assert ill.returncode == 1
    assert f"chmod 600 {secret}" in ill.stdout
    wrong = installed.fleetcast("doctor", "--token-file", str(secret))
    assert wrong.returncode == 1
    assert "fail  token: a token for worker may not do this" in wrong.stdout


def test_the_doctor_warns_of_an_installation_that_is_down_and_fails_one_that_runs_without_control(tmp_path: Path) -> None:
    ports = free_ports(Blueprint.ports_needed(1, 1), "127.0.0.1", random.Random())
    file = installation.create(tmp_path / "data", Blueprint(1, ("local",), 1, ports))
    program = [sys.executable, "-m", "fleetcast", "doctor", "--settings", str(file)]
    down = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert down.returncode == 0, down.stdout
    assert "fleetcast up starts it" in down.stdout
    region = (
        "import socket, sys\n"
        "listening = socket.create_server(('127.0.0.1', int(sys.argv[2])))\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()"
    )
    alone = [sys.executable, "-c", region, "fleetcast", str(ports[2])]
    with subprocess.Popen(alone, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        without = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
        running.kill()
    assert without.returncode == 1, without.stdout
    assert "fail  control: " in without.stdout
    with socket.create_server(("127.0.0.1", ports[0])):
        taken = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert taken.returncode == 1
    assert f"{ports[0]}, for control's API, is in use by process" in taken.stdout
