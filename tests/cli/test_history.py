"""``fleetcast history``: what it says of days."""

from __future__ import annotations

import pytest

from fleetcast.cli import main
from fleetcast.cli.history import history_text
from fleetcast.model.ids import ServiceName
from fleetcast.model.messages.queue import BuildDay, BuildHistory


def test_a_line_for_each_service_and_day() -> None:
    day = BuildDay(ServiceName("web"), "2026-01-05", 9, 8, 1, 10, 2.04, 70, 31.5, 600)
    header, line = history_text(BuildHistory(14, (day,))).splitlines()
    assert header.split()[:5] == ["DAY", "SERVICE", "BUILDS", "SUCCEEDED", "FAILED"]
    assert " ".join(line.split()) == "2026-01-05 web 9 8 1 10 2.0 s 70.0 s 31.5 s 600.0 s"


def test_where_nothing_was_built_it_says_so() -> None:
    assert history_text(BuildHistory(1, ())) == "no build ended in the last 1 day"


@pytest.mark.parametrize("days", ["0", "-1", "99999"])
def test_days_that_cannot_be_are_told_in_a_line(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["history", "--days", days]) == 2
    assert f"--days is {days}: it must be 1 to 3660 [illegal_days]" in capsys.readouterr().err
