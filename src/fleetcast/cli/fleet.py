"""What counts: draining a region, retiring a machine."""

from __future__ import annotations

from fleetcast.cli.connection import NO_CONNECTION, Connection, everything
from fleetcast.cli.output import print_json
from fleetcast.cli.terminal import print_table


def drain(region: str, *, undo: bool = False, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Leave a region out of every release and deployment until it is back. Its machines keep what they run.

    For example: `fleetcast drain eu-west`, and later `fleetcast drain eu-west --undo`

    Parameters
    ----------
    region
        The region.
    undo
        Count it again.
    json
        Print the fleet as JSON.
    """
    from fleetcast.model.ids import region_name

    fleet = connection.ask(lambda control: control.drain(region_name(region), drained=not undo))
    if json:
        print_json(fleet)
    else:
        print(f"region {region} {'counts again' if undo else 'is drained: nothing waits for it'}")


def list_machines(*, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """List the machines.

    For example: `fleetcast machine list --json`

    Parameters
    ----------
    json
        Print them as JSON.
    """
    machines = connection.ask(lambda control: everything(control.machines()))
    if json:
        print_json(machines)
        return
    rows = [[m.id, m.region, m.zone, m.rack, " ".join(f"{k}={v}" for k, v in sorted(m.labels.items()))] for m in machines]
    print_table(["MACHINE", "REGION", "ZONE", "RACK", "LABELS"], rows)


def retire(machine: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Count a machine that is gone no more. It is back when it reports again.

    For example: `fleetcast machine retire eu-west-3`

    Parameters
    ----------
    machine
        Its id.
    json
        Print the fleet as JSON.
    """
    from fleetcast.model.ids import machine_id

    fleet = connection.ask(lambda control: control.retire(machine_id(machine)))
    if json:
        print_json(fleet)
    else:
        print(f"machine {machine} is retired: nothing waits for it")
