"""What contestants share: where they compete, and what is told of one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.host import Host
from lab.program import Program

GIB = 1 << 30
MIB = 1 << 20
LOOK_S = 0.02


@dataclass(frozen=True)
class Field:
    """Where a contest takes place, and about what."""

    hub: Host
    """For what belongs to nobody: control, trackers."""
    origin: Host
    machines: Sequence[Host]
    size_bytes: int
    files: int
    run_s_max: float
    """From the start signal to the last machine."""
    start: Callable[[], None]
    """Called when everything is up and waits for the signal: links are limited from now on."""

    @property
    def delivered_gib(self) -> float:
        return self.size_bytes * len(self.machines) / GIB


@dataclass(frozen=True)
class Run:
    """One contestant's run."""

    times_s: tuple[float, ...]
    """From the start signal until each machine had everything verified in its final file, ascending."""
    figures: Mapping[str, float]
    """By the names they have in the JSON."""


def told(field: Field, times_s: Sequence[float], cpu_s: float, **more: float) -> Run:
    """A run and the figures that every contestant has. ``cpu_s``: user and system, of every process, from go to last."""
    figures = {
        "last_s": max(times_s),
        "median_s": statistics.median(times_s),
        "cpu_s": cpu_s,
        "cpu_s_per_gib": cpu_s / field.delivered_gib,
        **more,
    }
    return Run(tuple(sorted(times_s)), figures)


def compete(field: Field, programs: Mapping[str, Program], go: Callable[[], None], done: Mapping[str, Path]) -> Run:
    """Let programs that are up begin, and wait for the file that each machine makes when it is done.

    Raises:
        LabError: one of them ended, or they took too long.
    """
    field.start()
    before = {name: program.cpu_s() for name, program in programs.items()}
    began_at_s, deadline = time.time(), time.monotonic() + field.run_s_max
    go()
    left = dict(done)
    while left := {name: file for name, file in left.items() if not file.exists()}:
        for program in programs.values():
            program.must_run()
        if time.monotonic() > deadline:
            raise LabError(f"not done within {field.run_s_max:g} s: {', '.join(sorted(left)[:5])}")
        time.sleep(LOOK_S)
    cpu_s = sum(program.cpu_s() - before[name] for name, program in programs.items())
    rss_bytes = max(programs[name].peak_rss_bytes() for name in done)
    return told(field, [file.stat().st_mtime - began_at_s for file in done.values()], cpu_s, rss_mib=rss_bytes / MIB)
