"""What ``python -m bench.delta`` is asked for."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.delta.edits import SIZE_BYTES_MIN
from bench.options import telling
from fleetcast.cli.demo.sizes import parse_size
from lab.errors import LabError
from lab.limits import HOSTS_MAX

RUNS_MAX = 20
_ABOUT = """\
Fill machines with a release, then with an edited one, and say how much entered them for that: Fleetcast's own programs over
loopback, every byte of every connection counted. Two edits, at random places: 1% of the bytes overwritten in 20 ranges
(scattered), 1 MiB put in front (inserted). The greatest of all seeds and machines is told. docs/benchmarks.md says what the
figures mean."""


@dataclass(frozen=True)
class Asked:
    machines: int
    size: str
    """As it was written."""
    size_bytes: int
    runs: int
    directory: Path | None
    json: bool
    save: Path | None
    """Where to write the JSON to, besides."""


def parse(arguments: Sequence[str]) -> Asked:
    """Raises :class:`LabError` or :class:`Invalid` for what makes no sense; :class:`SystemExit` as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m bench.delta", description=_ABOUT)
    parser.add_argument("--size", default="1GiB", help="of the first release; default 1GiB")
    parser.add_argument("--peers", type=int, default=2, help="machines; default 2")
    parser.add_argument("--runs", type=int, default=3, help="so many seeds, from 1 on; default 3")
    parser.add_argument("--directory", type=Path, help="where to keep the bytes; default: in memory if they fit, else on disk")
    telling(parser)
    given = parser.parse_args(arguments)
    asked = Asked(given.peers, given.size, parse_size(given.size), given.runs, given.directory, given.json, given.save)
    if not 1 <= asked.machines < HOSTS_MAX:
        raise LabError(f"--peers {asked.machines}: choose 1 to {HOSTS_MAX - 1}")
    if not 1 <= asked.runs <= RUNS_MAX:
        raise LabError(f"--runs {asked.runs}: choose 1 to {RUNS_MAX}")
    if asked.size_bytes < SIZE_BYTES_MIN:
        raise LabError(f"--size {asked.size}: choose at least {SIZE_BYTES_MIN >> 20}MiB, or there is nothing to share")
    return asked


def command(asked: Asked) -> str:
    """How to measure the same again."""
    peers, runs = str(asked.machines), str(asked.runs)
    return shlex.join(["python", "-m", "bench.delta", "--size", asked.size, "--peers", peers, "--runs", runs])
