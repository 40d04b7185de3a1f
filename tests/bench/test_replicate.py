"""What ``python -m bench.replicate`` is asked for, what it counts, and a small run of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.page.replicate import replicate
from bench.replicate.asked import command, parse
from bench.replicate.copying import TARGET, left
from lab.errors import LabError
from lab.traffic import Entered

ROOT = Path(__file__).parents[2]


def test_without_a_word_it_is_2_gib_to_5_regions_on_both_engines() -> None:
    asked = parse([])
    assert (asked.sizes, asked.regions) == ({"embedded": "2GiB", "s3": "2GiB"}, 5)
    assert command(asked) == "python -m bench.replicate --size 2GiB --s3-size 2GiB --regions 5"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--engine", "s3", "--size", "64MiB", "--regions", "2"],
        ["--engine", "embedded", "--size", "64MiB", "--regions", "5"],
        ["--size", "2GiB", "--s3-size", "512MiB", "--regions", "5"],
    ],
)
def test_the_command_measures_the_same_again(arguments: list[str]) -> None:
    asked = parse(arguments)
    again = parse(command(asked).split()[3:])
    assert (again.sizes, again.regions) == (asked.sizes, asked.regions)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--regions", "0"], "--regions 0: choose 1 to 20"),
        (["--s3-size", "1KiB"], "a size of 1KiB: choose at least 1MiB, or there is nothing to share"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(arguments: list[str], complaint: str) -> None:
    with pytest.raises(LabError) as caught:
        parse(arguments)
    assert str(caught.value) == complaint


def test_what_regions_receive_of_the_main_store_counts_and_nothing_else() -> None:
    entered = [
        Entered("region-1", 5000, 6380, 100),
        Entered("region-2", 5001, 6380, 10),
        Entered("", 5002, 6380, 1),
        Entered("region-1", 5003, 6280, 1000),
        Entered("worker-1", 5004, 6380, 1000),
    ]
    assert left(entered, ["region-1", "region-2"], 6380) == 111


@pytest.mark.parametrize("engine", ["embedded", "s3"])
def test_a_small_run(tmp_path: Path, engine: str) -> None:
    """Of programs that ship. The target is one of large artifacts: of a small one, a chunk is much."""
    argv = [sys.executable, "-m", "bench.replicate", "--engine", engine, "--size", "48MiB", "--regions", "2", "--json"]
    done = subprocess.run([*argv, "--directory", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    figures = told[engine]
    assert figures["bytes_first"] >= 2 * figures["content_bytes"][0]
    assert 2 * figures["manifest_bytes"][1] < figures["bytes_delta"] < 0.4 * figures["bytes_first"]
    assert min(figures[name] for name in ("first_s", "again_with_delta_s", "plain_s", "rss_mib")) > 0
    assert f"{TARGET:g} of the first's" in replicate(told)
    assert list(tmp_path.iterdir()) == [], "everything is gone"
