"""What the benchmark of rollbacks is asked, and what it tells of many of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.page.rollback import rollback
from bench.rollback import Asked, Back, figures, kept, main
from lab.errors import LabError

ASKED = Asked(machines=24, regions=3, runs=3, json=False, save=None)
BACK = Back(1.5, 24, 0)


def told(*watched: Back, polled: Back = BACK, left_without: int = 0) -> dict[str, object]:
    return figures(ASKED, watched, [polled], left_without)


@pytest.mark.parametrize("asked", [("--machines", "2"), ("--regions", "0"), ("--runs", "0"), ("--runs", "101")])
def test_what_makes_no_sense_is_told(asked: tuple[str, ...]) -> None:
    with pytest.raises(LabError):
        main(asked)


def test_times_are_medians_and_the_rest_is_the_worst() -> None:
    some = told(BACK, replace(BACK, took_s=2.5, machines=23), replace(BACK, took_s=2.0, bytes_fetched=7))
    assert (some["watch_s"], some["poll_s"], some["machines_back"], some["bytes_fetched"]) == (2.0, 1.5, 23, 7)
    assert some["spread"] == {"watch_s": [1.5, 2.5], "poll_s": [1.5, 1.5]}


@pytest.mark.parametrize(
    "worse",
    [
        told(replace(BACK, took_s=3.0)),
        told(BACK, polled=replace(BACK, took_s=12.1)),
        told(replace(BACK, machines=23)),
        told(replace(BACK, bytes_fetched=1)),
        told(BACK, left_without=1),
    ],
)
def test_what_was_promised_is_all_of_it(worse: dict[str, object]) -> None:
    assert kept(told(BACK))
    assert not kept(worse)


def test_the_page_tells_both_ways_with_their_spread() -> None:
    text = rollback({**told(BACK, replace(BACK, took_s=2.0)), "runs": 2, "command": "python -m bench.rollback"})
    assert "| last machine back, s | 1.75 (1.50 to 2.00) | 1.50 |" in text
    assert "| bytes fetched | 0 |" in text
