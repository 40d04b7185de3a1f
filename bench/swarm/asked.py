"""What ``python -m bench.swarm`` is asked for."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.options import telling
from fleetcast.cli.demo.sizes import parse_size
from lab.errors import LabError
from lab.limits import HOSTS_MAX
from lab.plan import parse_rate

RUNS_MAX = 20
_ABOUT = """\
Fill a fleet and say how long it took and what it cost: Fleetcast's own programs, libtorrent and aria2, one after the other, in
the same network (hosts in network namespaces with limited links; root and iproute2) or over loopback (--loopback).
docs/benchmarks.md says what the figures mean."""


@dataclass(frozen=True)
class Asked:
    loopback: bool
    machines: int
    rate_mbit: float
    """Of every link, in each direction; 0 over loopback."""
    size_bytes: int
    files: int
    racks: int
    oversubscription: float
    runs: int
    rivals: bool
    directory: Path | None
    json: bool
    save: Path | None
    """Where to write the JSON to, besides."""


def parse(arguments: Sequence[str]) -> Asked:
    """Raises :class:`LabError` for what makes no sense; :class:`SystemExit` as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m bench.swarm", description=_ABOUT)
    parser.add_argument("--hosts", type=int, default=32, help="machines in the lab, the origin not counted; default 32")
    parser.add_argument("--rate", default="50mbit", help="of each link, in each direction; default 50mbit")
    parser.add_argument("--size", help="of the artifact; default 128MiB, over loopback 1GiB")
    parser.add_argument("--files", type=int, default=1, help="how many files it has; rivals send one")
    parser.add_argument("--racks", type=int, default=0, help="deal the hosts to so many racks; rivals are left out")
    parser.add_argument("--oversubscription", type=float, default=4.0, help="of each rack's uplink; default 4")
    parser.add_argument("--loopback", action="store_true", help="everything on this machine's own network, without limits")
    parser.add_argument("--peers", type=int, default=8, help="machines over loopback; default 8")
    parser.add_argument("--runs", type=int, default=3, help="the median of so many is told; default 3")
    parser.add_argument("--fleetcast-only", action="store_true", help="leave the rivals out")
    parser.add_argument("--directory", type=Path, help="where to keep the bytes; default: in memory if they fit, else on disk")
    telling(parser)
    given = parser.parse_args(arguments)
    asked = Asked(
        loopback=given.loopback,
        machines=given.peers if given.loopback else given.hosts,
        rate_mbit=0.0 if given.loopback else parse_rate(given.rate),
        size_bytes=parse_size(given.size or ("1GiB" if given.loopback else "128MiB")),
        files=given.files,
        racks=given.racks,
        oversubscription=given.oversubscription,
        runs=given.runs,
        rivals=not (given.fleetcast_only or given.racks),
        directory=given.directory,
        json=given.json,
        save=given.save,
    )
    _check(asked)
    return asked


def command(arguments: Sequence[str]) -> str:
    """How to measure the same again: the command without what only says where its result goes."""
    kept = list(arguments)
    if "--save" in kept:
        place = kept.index("--save")
        del kept[place : place + 2]
    return shlex.join(["python", "-m", "bench.swarm", *(argument for argument in kept if argument != "--json")])


def _check(asked: Asked) -> None:
    what = "--peers" if asked.loopback else "--hosts"
    if not 1 <= asked.machines < HOSTS_MAX:
        raise LabError(f"{what} {asked.machines}: choose 1 to {HOSTS_MAX - 1}")
    if not 1 <= asked.runs <= RUNS_MAX:
        raise LabError(f"--runs {asked.runs}: choose 1 to {RUNS_MAX}")
    if not 1 <= asked.files <= asked.size_bytes:
        raise LabError(f"--files {asked.files}: choose 1 to one a byte")
    if asked.loopback and asked.racks:
        raise LabError("--racks are for the lab: leave out --loopback")
    if not asked.loopback and asked.rate_mbit == 0:
        raise LabError("--rate 0mbit is no limit: leave it out, or say --loopback")
