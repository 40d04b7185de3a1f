"""What ``python -m bench.goal`` is asked for."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.options import telling
from lab.errors import LabError

ENGINES: Final = ("embedded", "etcd")
SERVICES_MAX: Final = 10_000
_ABOUT = """\
Write goals into the global key-value store at random moments, and say how long it takes each to be at an agent that polls its
region: control and the region as they ship, ten agents with a tenth of the services each. Once with a region that only asks
control every 10 s (poll), once with one for which control holds the question, too (watch). docs/benchmarks.md says what the
figures mean."""


@dataclass(frozen=True)
class Asked:
    engine: str
    """Of both key-value stores."""
    writes: int
    """Of each way."""
    services: int
    runs: int
    json: bool
    save: Path | None
    """Where to write the JSON to, besides."""


def parse(arguments: Sequence[str]) -> Asked:
    """Raises :class:`LabError` for what makes no sense; :class:`SystemExit` as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m bench.goal", description=_ABOUT)
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="of the global store and the region's")
    parser.add_argument("--writes", type=int, default=300, help="each way; default 300")
    parser.add_argument("--services", type=int, default=500, help="whose goals are there; default 500")
    telling(parser)
    given = parser.parse_args(arguments)
    asked = Asked(given.engine, given.writes, given.services, 1, given.json, given.save)
    if not 1 <= asked.services <= SERVICES_MAX:
        raise LabError(f"--services {asked.services}: choose 1 to {SERVICES_MAX}")
    if not 1 <= asked.writes <= asked.services:
        raise LabError(f"--writes {asked.writes}: choose 1 to as many as there are services, {asked.services}")
    return asked


def command(asked: Asked) -> str:
    """How to measure the same again."""
    wanted = ["--engine", asked.engine, "--writes", str(asked.writes), "--services", str(asked.services)]
    return shlex.join(["python", "-m", "bench.goal", *wanted])
