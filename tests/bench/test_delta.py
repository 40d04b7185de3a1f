"""``python -m bench.delta``: what is edited, what is counted as what, and the whole as somebody runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.delta.asked import command, parse
from bench.delta.edits import INSERTED_BYTES, SCATTERED_PLACES, SCATTERED_SHARE, SIZE_BYTES_MIN, edits, scattered
from bench.delta.figures import Delivery, Wire, by_machine, new_bytes, summary
from fleetcast.model.errors import FleetcastError
from lab import payload
from lab.errors import LabError
from lab.payload import Payload
from lab.traffic import Entered

ROOT = Path(__file__).parents[2]
RUN_S_MAX = 110.0
KIB = 1 << 10


def built(directory: Path, wanted: Payload) -> list[bytes]:
    """The files, by the commit's own script."""
    payload.commit(directory, wanted)
    subprocess.run([sys.executable, "build.py"], cwd=directory, check=True)
    return [file.read_bytes() for file in sorted(directory.glob("dist/*/*"))]


# What is edited


@given(st.integers(SIZE_BYTES_MIN, 1 << 34), st.integers(0, 1000))
def test_scattered_ranges_are_apart_and_have_their_share(size_bytes: int, seed: int) -> None:
    ranges = scattered(size_bytes, seed)
    assert len(ranges) == SCATTERED_PLACES
    assert sum(length for _, length in ranges) == round(size_bytes * SCATTERED_SHARE)
    end = 0
    for offset, length in ranges:
        assert offset > end or (offset, end) == (1, 0)
        assert length > 0
        end = offset + length
    assert end < size_bytes


def test_seeds_are_at_different_places() -> None:
    assert len({scattered(1 << 30, seed) for seed in range(10)}) == 10


@pytest.mark.parametrize("files", [1, 3])
def test_what_is_built_differs_just_where_it_is_edited(tmp_path: Path, files: int) -> None:
    before = Payload(300 * KIB + 1, files, seed=5)
    ranges = ((1, 3), (90 * KIB + 7, 150 * KIB), (300 * KIB, 1))
    old = b"".join(built(tmp_path / "old", before))
    new = b"".join(built(tmp_path / "new", Payload(300 * KIB + 1, files, 5, overwritten=ranges)))
    assert len(old) == len(new) == 300 * KIB + 1
    end = 0
    for offset, length in (*ranges, (len(old), 0)):
        assert new[end:offset] == old[end:offset]
        changed = sum(
            one != other for one, other in zip(old[offset : offset + length], new[offset : offset + length], strict=True)
        )
        assert changed >= 0.98 * length - 3
        end = offset + length


@pytest.mark.parametrize("files", [1, 3])
def test_what_is_inserted_is_in_front_of_everything(tmp_path: Path, files: int) -> None:
    old = built(tmp_path / "old", Payload(90 * KIB, files))
    new = built(tmp_path / "new", Payload(90 * KIB, files, overwritten=((80 * KIB, 10),), inserted_bytes=1000))
    assert [len(file) for file in new] == [len(old[0]) + 1000, *map(len, old[1:])]
    assert b"".join(new)[1000:][: 80 * KIB] == b"".join(old)[: 80 * KIB]
    assert b"".join(new)[1000:] != b"".join(old)


def test_payloads_without_edits_are_what_their_seed_says(tmp_path: Path) -> None:
    assert built(tmp_path / "plain", Payload(10_000, seed=7)) == [Random(7).randbytes(10_000)]


def test_edits_are_of_one_release_with_one_seed() -> None:
    before = Payload(1 << 30, seed=3)
    made = edits(before)
    assert made["inserted"].payload == Payload(1 << 30, seed=3, inserted_bytes=INSERTED_BYTES)
    assert made["scattered"].payload == Payload(1 << 30, seed=3, overwritten=scattered(1 << 30, 3))
    assert made["scattered"].changed_bytes == round(SCATTERED_SHARE * (1 << 30))


# What is counted as what


def test_what_enters_is_told_by_who_sent_it() -> None:
    entered = [
        Entered("agent-a", 5000, 70, 1),
        Entered("agent-a", 5001, 71, 20),
        Entered("agent-a", 5002, 91, 300),  # fetched of b
        Entered("agent-a", 90, 5003, 4000),  # asked by b
        Entered("agent-b", 5003, 90, 50_000),
        Entered("region", 70, 5000, 999),
        Entered("", 5004, 71, 600_000),
        Entered("", 5005, 60, 999),  # somebody at control
    ]
    listening = {60: "control", 70: "region", 71: "region", 90: "agent-a", 91: "agent-b"}
    wires = by_machine(entered, {"a": "agent-a", "b": "agent-b"}, listening, region=70, origin=71)
    assert wires == {"a": Wire(1, 20, 4300, 600_000), "b": Wire(0, 0, 50_000, 600_000)}
    assert wires["a"].bytes == 604_321


def test_the_greatest_counts() -> None:
    come = [Delivery(seed, "a", Wire(5, 10 * seed, 0, 0), 8, 1, 90) for seed in (1, 3, 2)]
    told = summary(come, 1000)
    assert told["wire_over_size"] == 0.035
    assert told["spread"] == {"wire_over_size": [0.015, 0.035]}
    assert (told["worst"]["seed"], told["worst"]["wire_bytes"], told["worst"]["protocol_bytes"]) == (3, 35, 26)
    assert len(told["each"]) == 3


def test_of_a_manifest_only_pieces_that_are_new_travel() -> None:
    def root(*pieces: tuple[str, int]) -> Any:
        return SimpleNamespace(manifest_pieces=[SimpleNamespace(blake3=digest, length=length) for digest, length in pieces])

    assert new_bytes(root(("a", 1), ("b", 20), ("c", 300)), root(("b", 20))) == 301
    assert new_bytes(root(("a", 1), ("b", 20)), None) == 21


# The whole


def test_an_edited_release_costs_what_was_edited_and_nothing_is_left(tmp_path: Path) -> None:
    saved, kept = tmp_path / "saved.json", tmp_path / "kept"
    kept.mkdir()
    arguments = ["--size", "24MiB", "--runs", "1", "--directory", str(kept), "--json", "--save", str(saved)]
    argv = [sys.executable, "-m", "bench.delta", *arguments]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=RUN_S_MAX, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert json.loads(saved.read_text()) == told
    assert list(kept.iterdir()) == []
    for name, size_bytes in (("first", 24 << 20), ("scattered", 24 << 20), ("inserted", 25 << 20)):
        for each in told[name]["each"]:
            assert each["content_bytes"] + each["local_bytes"] == size_bytes
            assert each["wire_bytes"] == sum(each[f"{who}_bytes"] for who in ("region", "origin", "peer", "unknown"))
            assert each["region_bytes"] > 0
            assert 0 < each["protocol_bytes"] < each["unknown_bytes"] + (1 << 20)
    assert told["first"]["wire_over_size"] > 1
    assert 1 / 24 < told["inserted"]["wire_over_size"] < told["first"]["wire_over_size"] / 2
    assert sum(each["peer_bytes"] for each in told["first"]["each"]) > 1 << 20


def test_how_to_measure_again_is_told_without_where_the_result_went() -> None:
    asked = parse(["--json", "--save", "a b.json", "--size", "64MiB"])
    assert command(asked) == "python -m bench.delta --size 64MiB --peers 2 --runs 3"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--peers", "0"], "--peers 0: choose 1 to 199"),
        (["--runs", "0"], "--runs 0: choose 1 to 20"),
        (["--size", "1KiB"], "--size 1KiB: choose at least 1MiB, or there is nothing to share"),
        (["--size", "much"], "'much' is not a size: write for instance 64MiB or 1GiB"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(arguments: list[str], complaint: str) -> None:
    with pytest.raises((LabError, FleetcastError)) as caught:
        parse(arguments)
    assert str(caught.value) == complaint
