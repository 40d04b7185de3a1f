"""The contest over loopback: what it costs in CPU time where no link limits it, beside the least that moving bytes can cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.swarm import floor, libtorrent, ours
from bench.swarm.asked import Asked
from bench.swarm.contest import GIB, Field, Run
from bench.swarm.figures import ratio, rounded, summary
from bench.swarm.place import place, warm
from fleetcast.launch import sweeper
from fleetcast.launch.settings import LOOPBACK
from lab.company import Choices
from lab.host import Host

COPIES_BEFORE = 3
"""Of the artifact before it is sent: the worker's output, the main bucket, the region's. Then the last and the machines'."""
RUN_S_MAX = 900.0
SMALL_BYTES = GIB
"""What a larger artifact is compared with."""


def measure(asked: Asked, say: Callable[[str], None]) -> dict[str, Any]:
    """The result as JSON has it. Raises :class:`~lab.errors.LabError`."""
    if asked.rivals:
        libtorrent.check()
    runs: dict[str, list[Run]] = {}
    floors: list[float] = []
    small_floors: list[float] = []
    with place(asked.size_bytes * max(asked.machines + 1, COPIES_BEFORE), asked.directory) as directory:
        for number in range(1, asked.runs + 1):
            floors.append(_floor_cpu_s_per_gib(asked.size_bytes, directory))
            say(f"run {number}: one pair over loopback takes {floors[-1]:.2f} CPU-s a GiB")
            if asked.size_bytes > SMALL_BYTES:
                small_floors.append(_floor_cpu_s_per_gib(SMALL_BYTES, directory))
                say(f"  of 1 GiB: {small_floors[-1]:.2f}")
            for name, run in _everybody(asked, directory):
                runs.setdefault(name, []).append(run)
                say(f"  {name}: {_line(run)}")
    return _result(runs, floors, small_floors)


def _floor_cpu_s_per_gib(size_bytes: int, directory: Path) -> float:
    warm(directory, 2 * size_bytes)
    return floor.cpu_s(directory, size_bytes) * GIB / size_bytes


def _everybody(asked: Asked, directory: Path) -> Iterator[tuple[str, Run]]:
    yield "fleetcast", ours.run(_field(asked, asked.size_bytes, directory), directory / "fleetcast", Choices())
    if asked.size_bytes > SMALL_BYTES:
        yield "fleetcast_1gib", ours.run(_field(asked, SMALL_BYTES, directory), directory / "fleetcast", Choices())
    if asked.rivals:
        try:
            yield "libtorrent", libtorrent.run(_field(asked, asked.size_bytes, directory), directory / "libtorrent")
        finally:
            sweeper.remove(directory / "libtorrent")


def _field(asked: Asked, size_bytes: int, directory: Path) -> Field:
    return Field(
        hub=Host("hub", LOOPBACK),
        origin=Host("origin", LOOPBACK),
        machines=[Host(f"host-{number}", LOOPBACK) for number in range(1, asked.machines + 1)],
        size_bytes=size_bytes,
        files=asked.files,
        run_s_max=RUN_S_MAX,
        start=lambda: warm(directory, size_bytes * asked.machines),
    )


def _result(runs: dict[str, list[Run]], floors: list[float], small_floors: list[float]) -> dict[str, Any]:
    floor_cpu_s = median(floors)
    result: dict[str, Any] = {name: summary(each) for name, each in runs.items()}
    ours = result["fleetcast"]["cpu_s_per_gib"]
    result |= {"floor_cpu_s_per_gib": rounded(floor_cpu_s), "cpu_over_floor": rounded(ours / floor_cpu_s)}
    if small_floors:
        # What moving bytes itself costs more where there are more of them than the machine's memory has at hand.
        result["floor_1gib_cpu_s_per_gib"] = rounded(median(small_floors))
        result["floor_over_1gib"] = rounded(floor_cpu_s / median(small_floors))
    for name, key in (("libtorrent", "cpu_over_libtorrent"), ("fleetcast_1gib", "cpu_over_1gib")):
        if name in runs:
            result[key] = ratio(runs["fleetcast"], runs[name], "cpu_s_per_gib")
    return result


def _line(run: Run) -> str:
    told = run.figures
    parts = (f"last {told['last_s']:.2f} s", f"{told['cpu_s_per_gib']:.2f} CPU-s a GiB", f"{told['rss_mib']:.0f} MiB resident")
    return ", ".join(parts)
