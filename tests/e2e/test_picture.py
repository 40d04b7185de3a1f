"""Deploying on a terminal: what a person sees move, and what is left on the screen."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from place import small_installation

ROOT = Path(__file__).parents[2]
DEPLOY_S_MAX = 90.0
PAYLOAD_BYTES = 48 << 20
RECIPE = """
[build]
command = "echo compiling with care; sleep 1; mkdir dist && cp check.sh dist/ && sh make.sh > dist/data"
output = "dist"
[run]
activate = "exec sleep 100000"
health = "sh check.sh"
health_timeout_s = 2
"""
SICK = 'case $FLEETCAST_MACHINE in *-2) echo "no way to the database"; exit 1;; esac\n'


@pytest.fixture(scope="session")
def recording() -> Any:
    """The program that makes the recording in the README: it has the terminal."""
    spec = importlib.util.spec_from_file_location("recording", ROOT / "docs" / "recording.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Desk:
    """A running installation of two regions and four machines, and somebody in front of a terminal."""

    def __init__(self, directory: Path, repository: Path, recording: Any) -> None:
        self.directory = directory
        self.repository = repository
        self._recording = recording
        self.environ = {"FLEETCAST_SETTINGS": str(directory / "settings.toml")}

    def commit(self, check: str, make: str = "") -> str:
        (self.repository / "check.sh").write_text(check)
        (self.repository / "make.sh").write_text(make)
        (self.repository / "fleetcast.toml").write_text(RECIPE)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message=change")
        return self._git("rev-parse", "HEAD")

    def status(self) -> Any:
        command = (sys.executable, "-m", "fleetcast", "status", "--json")
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **self.environ})
        return json.loads(done.stdout)

    def type(self, *arguments: str, columns: int = 80, rows: int = 24, seen: Any = None, **environ: str) -> Any:
        """The terminal after a command, its exit code in ``code``, every screen in ``screens``."""
        command = (sys.executable, "-m", "fleetcast", *arguments)
        terminal = self._recording.Terminal(command, {**self.environ, **environ}, columns=columns, rows=rows)
        terminal.screens = []

        def look(lines: list[str]) -> None:
            terminal.screens.append("\n".join(lines))
            if seen is not None:
                seen(terminal)

        try:
            terminal.code = terminal.run(DEPLOY_S_MAX, look)
        finally:
            terminal.close()
        terminal.text = "\n".join(terminal.everything())
        return terminal

    def _git(self, *arguments: str) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        done = subprocess.run(["git", *who, *arguments], cwd=self.repository, capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, until: Callable[..., None], recording: Any) -> Iterator[Desk]:
    temporary = tmp_path_factory.mktemp("picture")
    directory, repository = temporary / "fleetcast-data", temporary / "web"
    repository.mkdir()
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", "."], cwd=repository, check=True)
    with small_installation(directory, 4, ("eu-west", "us-east")):
        desk = Desk(directory, repository, recording)
        until(lambda: sum(region["machines"] for region in desk.status()["regions"]) == 4, "every machine reports")
        assert desk.type("service", "add", "web", str(repository)).code == 0
        yield desk


def test_regions_machines_and_bytes_are_seen_to_move(desk: Desk) -> None:
    """One story, as every step needs the one before."""
    good = desk.commit("exit 0\n", f"head -c {PAYLOAD_BYTES} /dev/urandom\n")
    shown = desk.type("deploy", f"web@{good}")
    assert shown.code == 0
    screens = "\n".join(shown.screens)
    assert f"deploy web@{good[:12]}  BUILDING" in screens
    assert "│ compiling with care" in screens, "the build's log"
    assert re.search(r"deploy web@\w+  DISTRIBUTING", screens)
    rows = set(re.findall(r"^(?:eu-west|us-east) .*/2 .*$", screens, re.MULTILINE))
    assert len(rows) > 2, f"nothing moved in the rows of the two regions: {rows}"
    cells = set(re.findall(r"([·↓◐↻●✗]) ((?:eu-west|us-east)-[12])\b", screens))
    assert {machine for _, machine in cells} == {"eu-west-1", "eu-west-2", "us-east-1", "us-east-2"}
    assert len({symbol for symbol, _ in cells}) > 1, f"machines were only ever seen as {cells}"
    # The picture is gone, the summary stays.
    assert f"deploy web@{good[:12]} SUCCEEDED after" in shown.text
    assert re.search(r"^  deployment [0-9a-f]{16}$", shown.text, re.MULTILINE)
    assert "DISTRIBUTING" not in shown.text
    assert re.search(r"48\.0 MiB x 4 machines: origin \S+ \(\d+%\), peers \S+ \(\d+%\), local 0", shown.text)
    assert not shown.screen.cursor.hidden
    assert max(map(len, shown.text.splitlines())) <= 80

    sick = desk.commit(SICK)
    shown = desk.type("deploy", f"web@{sick}", columns=200, rows=50)
    assert shown.code == 1
    assert max(len(line) for screen in shown.screens for line in screen.splitlines()) > 80, "the width there is, is used"
    assert f"deploy web@{sick[:12]} FAILED" in shown.text
    assert "2 of 4 machines failed" in shown.text
    named = re.search(r"^  deployment ([0-9a-f]{16})$", shown.text, re.MULTILINE)
    assert named is not None
    assert f"to look into it: fleetcast status {named[1]}, fleetcast logs " in shown.text
    assert shown.text.count("no way to the database") == 1
    assert re.search(rf"✗ eu-west-2, us-east-2: .*; runs {good[:12]} again", shown.text)

    # A region that has just started is told of at length, and a terminal breaks what is longer than it is wide.
    plain = desk.type("rollback", "web", columns=1000, TERM="dumb")
    assert plain.code == 0
    lines = [line for line in plain.text.splitlines() if line]
    assert lines
    assert all(line.startswith(f"rollback web@{good[:12]} ") for line in lines), lines
    assert "SUCCEEDED" in lines[-1]


def test_who_interrupts_it_gets_the_terminal_back_and_advice(desk: Desk) -> None:
    slow = desk.commit("exit 0\n", "sleep 30\n")
    interrupted = False

    def interrupt(terminal: Any) -> None:
        nonlocal interrupted
        if not interrupted and "compiling with care" in terminal.screens[-1]:
            interrupted = True
            terminal.process.send_signal(signal.SIGINT)

    shown = desk.type("deploy", f"web@{slow}", seen=interrupt)
    assert interrupted, "\n".join(shown.screens[-3:])
    assert shown.code == 130, shown.text
    assert not shown.screen.cursor.hidden
    assert "BUILDING" not in shown.text, "the picture is gone"
    followed = re.search(r"to follow it: fleetcast watch (\w+); to end it: fleetcast abort", shown.text.replace("\n", ""))
    assert followed is not None, shown.text
    assert desk.type("abort", followed[1]).code == 0


def test_the_recording_is_written_between_its_marks(recording: Any) -> None:
    lines = ["   0.0 s  a company in /var/tmp/fleetcast-demo-0a1b2c3d:", "  control is up at http://127.0.0.1:4711", ""]
    readme = f"# Above\n{recording.BEGIN}\nold\n{recording.END}\nbelow\n"
    written = recording.written_into(readme, lines, [])
    assert written == (
        f"# Above\n{recording.BEGIN}\n```\n$ make demo\n   0.0 s  a company in /tmp/fleetcast-demo:\n"
        f"  control is up at http://127.0.0.1:...\n```\n{recording.END}\nbelow\n"
    )
    assert recording.written_into(written, lines, []) == written, "as often as one likes"
    with pytest.raises(ValueError, match="the README needs"):
        recording.written_into("no marks", lines, [])
    assert recording.BEGIN in (ROOT / "README.md").read_text(encoding="utf-8")
