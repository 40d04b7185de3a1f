"""What ``python -m bench.queue`` is asked for."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.options import telling
from lab.errors import LabError

CALLERS_MAX = 500
RUNS_MAX = 20
SECONDS_MAX = 120
HISTORY_MAX = 20_000_000
_ABOUT = """\
Claim, heartbeat and finish builds on a PostgreSQL server of its own (fsync on, over loopback): Fleetcast's queue,
procrastinate and pgqueuer in turn, in three settings; how soon a waiting worker has what is queued, what workers without work
cost the server, and the same on SQLite and through the API. docs/benchmarks.md says what the figures mean."""


@dataclass(frozen=True)
class Asked:
    callers: int
    seconds: float
    runs: int
    history: int
    directory: Path | None
    json: bool
    save: Path | None
    """Where to write the JSON to, besides."""


def parse(arguments: Sequence[str]) -> Asked:
    """Raises :class:`LabError` for what makes no sense; :class:`SystemExit` as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m bench.queue", description=_ABOUT)
    parser.add_argument("--callers", type=int, default=100, help="at once; default 100")
    parser.add_argument("--seconds", type=float, default=8.0, help="that each is measured for, in each setting; default 8")
    parser.add_argument("--runs", type=int, default=3, help="contestants take turns; the medians are told; default 3")
    parser.add_argument("--history", type=int, default=1_000_000, help="finished jobs in the setting million_rows")
    parser.add_argument("--directory", type=Path, help="where the server keeps its files, on a disk; default: temporary files")
    telling(parser)
    given = parser.parse_args(arguments)
    asked = Asked(given.callers, given.seconds, given.runs, given.history, given.directory, given.json, given.save)
    for name, value, most in (
        ("callers", asked.callers, CALLERS_MAX),
        ("seconds", asked.seconds, SECONDS_MAX),
        ("runs", asked.runs, RUNS_MAX),
        ("history", asked.history, HISTORY_MAX),
    ):
        if not 1 <= value <= most:
            raise LabError(f"--{name} {value:g}: choose 1 to {most}")
    return asked


def command(asked: Asked) -> str:
    """How to measure the same again."""
    options = ["--callers", asked.callers, "--seconds", f"{asked.seconds:g}", "--runs", asked.runs, "--history", asked.history]
    return shlex.join(["python", "-m", "bench.queue", *map(str, options)])
