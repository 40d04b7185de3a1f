"""What is told of several runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.swarm.contest import Run
from bench.swarm.figures import OVER_BOUND_MAX, ratio, summary, valid, with_figures


def run(last_s: float, **more: float) -> Run:
    return Run((last_s / 2, last_s), {"last_s": last_s, **more})


@given(st.lists(st.floats(0.5, 1000), min_size=1, max_size=9))
def test_the_median_lies_in_its_spread_and_the_times_are_those_of_a_run(times: list[float]) -> None:
    told = summary([run(last_s) for last_s in times])
    least, greatest = told["spread"]["last_s"]
    assert least <= told["last_s"] <= greatest
    assert told["times_s"][-1] in {summary([run(last_s)])["last_s"] for last_s in times}


def test_three_runs_are_told_by_the_one_in_the_middle() -> None:
    told = summary([run(30.0, cpu_s=9.0), run(10.0, cpu_s=7.0), run(20.0, cpu_s=8.0)])
    assert told == {
        "last_s": 20.0,
        "cpu_s": 8.0,
        "spread": {"last_s": [10.0, 30.0], "cpu_s": [7.0, 9.0]},
        "times_s": [10.0, 20.0],
    }


def test_a_figure_has_four_digits_and_a_count_all_of_them() -> None:
    told = summary([with_figures(run(12.345678), chunks=123456)])
    assert (told["last_s"], told["chunks"]) == (12.35, 123456)


def test_two_that_ran_in_turn_are_compared_run_by_run() -> None:
    # Runs in which everything was slow, and everything was fast, compare alike.
    assert ratio([run(10.0), run(20.0), run(33.0)], [run(20.0), run(40.0), run(60.0)], "last_s") == 0.5


@pytest.mark.parametrize("name", OVER_BOUND_MAX)
def test_a_rival_that_was_hobbled_makes_the_result_invalid(name: str) -> None:
    good = {rival: {"last_over_bound": 1.9} for rival in OVER_BOUND_MAX}
    assert valid(good)
    assert not valid({**good, name: {"last_over_bound": OVER_BOUND_MAX[name] + 0.01}})


def test_without_rivals_there_is_nobody_to_be_hobbled() -> None:
    assert valid({"fleetcast": {"last_over_bound": 9.0}})
