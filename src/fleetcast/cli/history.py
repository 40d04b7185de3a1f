"""``fleetcast history``: what builds waited and took, and how they ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.output import counted, fitted, print_json, seconds
from fleetcast.cli.terminal import stdout_table, stdout_width
from fleetcast.model.limits import HISTORY_DAYS

if TYPE_CHECKING:
    from fleetcast.model.messages.queue import BuildHistory

_COLUMNS: Final[Mapping[str, int]] = {
    "DAY": 0,
    "SERVICE": 0,
    "BUILDS": 0,
    "SUCCEEDED": 0,
    "FAILED": 0,
    "ATTEMPTS": 2,
    "WAIT": 1,
    "LONGEST": 2,
    "BUILD": 1,
    "LONGEST ": 2,
}
"""Where a terminal has no room for all, those with the highest figure are left out first."""


def history(
    service: str | None = None, *, days: int = HISTORY_DAYS, json: bool = False, connection: Connection = NO_CONNECTION
) -> None:
    """Show how many builds ended how, and what they waited and took, by service and day (UTC).

    For example: `fleetcast history`, or `fleetcast history web --days 30`

    Parameters
    ----------
    service
        Of this service only.
    days
        How many, today included.
    json
        Print it as JSON.
    """
    from fleetcast.model.errors import Invalid
    from fleetcast.model.ids import service_name
    from fleetcast.model.limits import HISTORY_DAYS_MAX

    if not 1 <= days <= HISTORY_DAYS_MAX:
        raise Invalid("illegal_days", f"--days is {days}: it must be 1 to {HISTORY_DAYS_MAX}")
    named = None if service is None else service_name(service)
    found = connection.ask(lambda control: control.build_history(service=named, days=days))
    print_json(found) if json else print(history_text(found))


def history_text(found: BuildHistory) -> str:
    """The figures for people: averages, each followed by the longest."""
    if not found.items:
        return f"no build ended in the last {counted(found.days, 'day')}"
    rows = [
        [
            one.day,
            one.service,
            str(one.builds),
            str(one.succeeded),
            str(one.failed),
            str(one.attempts),
            seconds(one.wait_s),
            seconds(one.wait_s_max),
            seconds(one.build_s),
            seconds(one.build_s_max),
        ]
        for one in found.items
    ]
    return stdout_table(*fitted(list(_COLUMNS), rows, list(_COLUMNS.values()), stdout_width()))
