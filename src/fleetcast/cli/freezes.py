"""``fleetcast freeze``: times in which no deployment lets machines in, for the whole company or some services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.output import print_json, when
from fleetcast.cli.terminal import print_table

if TYPE_CHECKING:
    from fleetcast.model.freeze import Freeze, Weekday
    from fleetcast.model.messages.freezes import CompanyFreeze


def add(
    name: str,
    *,
    reason: str,
    weekdays: str = "",
    hours: str = "",
    starts: str = "",
    ends: str = "",
    zone: str = "UTC",
    service: tuple[str, ...] = (),
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> None:
    """Add a freeze, or change the one of that name. It holds deployments that are under way too; a rollback it never holds.

    It is in force whenever everything it says is so. For example:
    `fleetcast freeze add holidays --starts 2026-12-23T18:00 --ends 2027-01-02 --zone Europe/Berlin --reason "nobody is there"`

    Parameters
    ----------
    name
        What it is called.
    reason
        Why, for those whom it holds.
    weekdays
        Only on these: mon,tue,wed,thu,fri,sat,sun.
    hours
        Only in these: 22:00-06:00; past midnight they belong to the day on which they begin.
    starts
        Not before: 2026-12-23 or 2026-12-23T18:00.
    ends
        Not from then on.
    zone
        Whose clocks those are: a name of the time zone database.
    service
        Only for this service; may be repeated.
    json
        Print the freeze as JSON.
    """
    from fleetcast.model.freeze import Freeze
    from fleetcast.model.ids import freeze_name, service_name
    from fleetcast.model.messages.freezes import FreezeOrder

    freeze = Freeze(reason, _weekdays(weekdays), hours, starts, ends, zone)
    order = FreezeOrder(freeze_name(name), freeze, tuple(map(service_name, service)))
    shown = connection.ask(lambda control: control.put_freeze(order))
    if json:
        print_json(shown)
    else:
        print(f"{shown.name} freezes {_whom(shown)} {_times(shown.freeze)}; {_state(shown)}")


def list_freezes(*, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """List the freezes of the company. Those of one service are in its plan.

    For example: `fleetcast freeze list`

    Parameters
    ----------
    json
        Print them as JSON.
    """
    page = connection.ask(lambda control: control.freezes())
    if json:
        print_json(page.items)
        return
    if not page.items:
        print('no freezes; next: fleetcast freeze add NAME --weekdays sat,sun --reason "nobody is there"')
        return
    rows = [[each.name, _state(each), _whom(each), _times(each.freeze), each.by, each.freeze.reason] for each in page.items]
    print_table(["FREEZE", "STATE", "SERVICES", "WHEN", "BY", "WHY"], rows)


def remove(name: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Remove a freeze: what it held goes on at once.

    For example: `fleetcast freeze remove holidays`

    Parameters
    ----------
    name
        What it is called.
    json
        Print what it was, as JSON.
    """
    from fleetcast.model.ids import freeze_name

    gone = connection.ask(lambda control: control.remove_freeze(freeze_name(name)))
    print_json(gone) if json else print(f"{gone.name} is removed: what it held goes on")


def _weekdays(text: str) -> tuple[Weekday, ...]:
    from fleetcast.model.errors import Invalid
    from fleetcast.model.freeze import Weekday

    days = tuple(day.strip() for day in text.split(",") if day.strip())
    for day in days:
        if day not in [*Weekday]:
            raise Invalid("illegal_weekday", f"{day!r} is no weekday: write {','.join(Weekday)}")
    return tuple(map(Weekday, days))


def _whom(shown: CompanyFreeze) -> str:
    return ", ".join(shown.services) or "everything"


def _times(freeze: Freeze) -> str:
    parts = [",".join(freeze.weekdays), freeze.hours]
    parts += [f"from {freeze.starts}" if freeze.starts else "", f"to {freeze.ends}" if freeze.ends else ""]
    return " ".join((*filter(None, parts), freeze.zone))


def _state(shown: CompanyFreeze) -> str:
    if not shown.in_force:
        return "not in force now"
    return "in force" if shown.until_ms is None else f"in force until {when(shown.until_ms)} UTC"
