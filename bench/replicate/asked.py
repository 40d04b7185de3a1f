"""What ``python -m bench.replicate`` is asked for."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.delta.edits import SIZE_BYTES_MIN
from bench.options import telling
from fleetcast.cli.demo.sizes import parse_size
from lab.errors import LabError

ENGINES: Final = ("embedded", "s3")
REGIONS_MAX: Final = 20
_ABOUT = """\
Have regions copy an artifact into their empty buckets, then the next one, in which 1% of the bytes differs, in 20 places; say
how long each takes, from the moment that regions can know of it until control has seen it in every bucket, and how many bytes
leave the main store for it. Control, a worker and the regions are the programs that ship. Beside them a plain copy: one process
a region reads the same bytes from the same store as one stream and writes them. Once with directories, once with S3-compatible
stores (OpenStack Swift, one for control and one for the regions). docs/benchmarks.md says what the figures mean."""


@dataclass(frozen=True)
class Asked:
    sizes: Mapping[str, str]
    """Of the first artifact, by engine, as it was written."""
    regions: int
    directory: Path | None
    runs: int
    json: bool
    save: Path | None
    """Where to write the JSON to, besides."""

    def size_bytes(self, engine: str) -> int:
        """Raises :class:`Invalid`."""
        return parse_size(self.sizes[engine])


def parse(arguments: Sequence[str]) -> Asked:
    """Raises :class:`LabError` or :class:`Invalid` for what makes no sense; :class:`SystemExit` as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m bench.replicate", description=_ABOUT)
    parser.add_argument("--size", default="2GiB", help="of the first artifact; default 2GiB")
    parser.add_argument("--s3-size", help="the same on S3-compatible stores; default: as --size")
    parser.add_argument("--engine", choices=ENGINES, help="only this one; default: both")
    parser.add_argument("--regions", type=int, default=5, help="default 5")
    parser.add_argument("--directory", type=Path, help="where to keep the bytes; default: in memory if they fit, else on disk")
    telling(parser)
    given = parser.parse_args(arguments)
    sizes = {"embedded": given.size, "s3": given.s3_size or given.size}
    chosen = {engine: size for engine, size in sizes.items() if given.engine in (None, engine)}
    asked = Asked(chosen, given.regions, given.directory, 1, given.json, given.save)
    if not 1 <= asked.regions <= REGIONS_MAX:
        raise LabError(f"--regions {asked.regions}: choose 1 to {REGIONS_MAX}")
    for engine, size in asked.sizes.items():
        if asked.size_bytes(engine) < SIZE_BYTES_MIN:
            raise LabError(f"a size of {size}: choose at least {SIZE_BYTES_MIN >> 20}MiB, or there is nothing to share")
    return asked


def command(asked: Asked) -> str:
    """How to measure the same again."""
    options = {"embedded": "--size", "s3": "--s3-size"}
    if len(asked.sizes) == 1:
        [(engine, size)] = asked.sizes.items()
        wanted = ["--engine", engine, "--size", size]
    else:
        wanted = [word for engine, size in asked.sizes.items() for word in (options[engine], size)]
    return shlex.join(["python", "-m", "bench.replicate", *wanted, "--regions", str(asked.regions)])
