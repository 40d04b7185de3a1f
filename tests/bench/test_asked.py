"""What can be asked of ``python -m bench.swarm``."""

from __future__ import annotations

import pytest

from bench.swarm.asked import command, parse
from lab.errors import LabError


def test_without_a_word_it_is_32_hosts_and_everybody() -> None:
    asked = parse([])
    assert (asked.machines, asked.rate_mbit, asked.size_bytes, asked.rivals, asked.runs) == (32, 50.0, 128 << 20, True, 3)


def test_over_loopback_there_is_no_rate() -> None:
    asked = parse(["--loopback", "--peers", "4", "--size", "4GiB"])
    assert (asked.loopback, asked.machines, asked.rate_mbit, asked.size_bytes) == (True, 4, 0.0, 4 << 30)


def test_with_racks_rivals_are_left_out() -> None:
    asked = parse(["--racks", "4", "--oversubscription", "8"])
    assert (asked.racks, asked.oversubscription, asked.rivals) == (4, 8.0, False)


def test_how_to_measure_again_is_told_without_where_the_result_went() -> None:
    assert command(["--json", "--save", "a b.json", "--hosts", "8"]) == "python -m bench.swarm --hosts 8"
    assert command(["--loopback"]) == "python -m bench.swarm --loopback"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--hosts", "0"], "--hosts 0: choose 1 to 199"),
        (["--loopback", "--peers", "1000"], "--peers 1000: choose 1 to 199"),
        (["--runs", "0"], "--runs 0: choose 1 to 20"),
        (["--files", "0"], "--files 0: choose 1 to one a byte"),
        (["--loopback", "--racks", "2"], "--racks are for the lab: leave out --loopback"),
        (["--rate", "0mbit"], "--rate 0mbit is no limit: leave it out, or say --loopback"),
        (["--rate", "fast"], "write a rate as 50mbit or 1gbit, not fast"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(arguments: list[str], complaint: str) -> None:
    with pytest.raises(LabError) as caught:
        parse(arguments)
    assert str(caught.value) == complaint
