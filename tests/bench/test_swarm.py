"""The benchmark as somebody runs it: Fleetcast's own programs over loopback, an artifact of a few chunks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from running import wait_until

ROOT = Path(__file__).parents[2]
RUN_S_MAX = 90.0


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "bench.swarm", "--loopback", "--fleetcast-only", "--directory", str(directory), *arguments]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)


def test_a_fleet_is_filled_and_nothing_is_left(tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    kept = tmp_path / "kept"
    kept.mkdir()
    running = start(kept, "--peers", "2", "--size", "2MiB", "--files", "3", "--runs", "1", "--json", "--save", str(saved))
    out, said = running.communicate(timeout=RUN_S_MAX)
    assert running.returncode == 0, said
    told = json.loads(out.splitlines()[-1])
    assert json.loads(saved.read_text()) == told
    ours = told["fleetcast"]
    assert ours["origin_over_size"] + ours["peers_over_size"] + ours["local_over_size"] == pytest.approx(2, abs=0.01)
    assert len(ours["times_s"]) == 2
    assert 0 < ours["times_s"][0] <= ours["times_s"][1] == ours["last_s"]
    assert told["floor_cpu_s_per_gib"] > 0
    assert "fleetcast: last" in said
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_it_is_ended_in_the_middle_nothing_is_left_either(tmp_path: Path, number: signal.Signals) -> None:
    running = start(tmp_path, "--peers", "1", "--size", "2MiB", "--runs", "20")
    assert running.stderr is not None
    begun = [running.stderr.readline() for _ in range(2)]
    assert "fleetcast: last" in begun[1], begun
    os.kill(running.pid, number)
    running.communicate(timeout=RUN_S_MAX)
    assert running.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    wait_until(lambda: not list(tmp_path.iterdir()), "its directory is gone")
    wait_until(lambda: not _processes_in(tmp_path), "its processes are gone")


def _processes_in(directory: Path) -> list[str]:
    """Command lines that name something in it."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if str(directory) in line]


def test_what_does_not_fit_is_said_in_a_line(tmp_path: Path) -> None:
    running = start(tmp_path, "--peers", "199", "--size", "9GiB")
    _, said = running.communicate(timeout=RUN_S_MAX)
    assert running.returncode == 1
    assert said.count("\n") == 1
    assert "choose a smaller --size or another --directory" in said
