"""What ``python -m bench.goal`` is asked for, and what it makes of what it saw."""

from __future__ import annotations

import pytest

from bench.goal.asked import command, parse
from bench.goal.figures import percentile, summary
from lab.errors import LabError


def test_without_a_word_it_is_300_writes_of_500_services_on_embedded_stores() -> None:
    asked = parse([])
    assert (asked.engine, asked.writes, asked.services) == ("embedded", 300, 500)
    assert command(asked) == "python -m bench.goal --engine embedded --writes 300 --services 500"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--services", "0"], "--services 0: choose 1 to 10000"),
        (["--writes", "501"], "--writes 501: choose 1 to as many as there are services, 500"),
        (["--writes", "0"], "--writes 0: choose 1 to as many as there are services, 500"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(arguments: list[str], complaint: str) -> None:
    with pytest.raises(LabError) as caught:
        parse(arguments)
    assert str(caught.value) == complaint


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(number) for number in range(300, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 99, 100)] == [150.0, 297.0, 300.0]
    assert percentile([7.0], 99) == 7.0
    assert summary([0.1, 0.2, 0.3004]) == {"p50_s": 0.2, "p99_s": 0.3, "max_s": 0.3}
