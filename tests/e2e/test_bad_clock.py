"""Hosts whose clocks are wrong, by a day and by ten years: what is deployed is deployed there too, and people are told.

Each Python of the installation gets the clock that its machine has; the clock of this host is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

DAY_S = 86_400
YEARS_S = 10 * 365 * DAY_S
OFF_S = {"local-2": YEARS_S, "local-3": -YEARS_S, "local-4": DAY_S, "local-5": -DAY_S, "local-6": 3600, "local-7": -3600}
CLOCKS = f"""
import sys, time
off_s = {OFF_S}.get(sys.orig_argv[sys.orig_argv.index("--machine") + 1], 0) if "--machine" in sys.orig_argv else 0
now, now_ns = time.time, time.time_ns
time.time = lambda: now() + off_s
time.time_ns = lambda: now_ns() + off_s * 10**9
"""


@pytest.fixture(scope="module")
def place(start_place: Callable[..., Any]) -> Any:
    return start_place(machines=7, patch=CLOCKS)


def test_machines_whose_clocks_are_wrong_get_what_is_deployed(place: Any, until: Callable[..., None]) -> None:
    place.good()
    place.good()
    assert place.fleetcast("rollback", "good").returncode == 0
    said = {
        "local-2": "3650 days ahead",
        "local-3": "3650 days behind",
        "local-4": "1 day ahead",
        "local-5": "1 day behind",
        "local-6": "1 hour ahead",
        "local-7": "1 hour behind",
    }

    def told() -> bool:
        status = place.fleetcast("status").stdout
        return all(f"{machine}: this machine's clock is about {text}: set it right" in status for machine, text in said.items())

    until(told, "each wrong clock is an alarm")
    assert "local-1: this machine's clock" not in place.fleetcast("status").stdout
    assert place.tracebacks() == []


def test_they_serve_each_other(place: Any) -> None:
    """A ticket is dated by the region: no peer turns it away because of its own clock."""
    place.good("another")
    assert "ticket_expired" not in "".join(place.log(f"agent-{machine}") for machine in OFF_S)
