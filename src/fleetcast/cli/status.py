"""``fleetcast status``: the fleet, or whatever a word names in it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.deployments import SHOWN, describe
from fleetcast.cli.output import ago, counted, fitted, print_json, seconds, short, size
from fleetcast.cli.plans import checks_text, waves_text
from fleetcast.cli.region_rollbacks import rollbacks_text
from fleetcast.cli.terminal import stdout_table, stdout_width
from fleetcast.model.lines import showable

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.deployment import Deployment
    from fleetcast.model.messages.deployments import DeploymentDetail
    from fleetcast.model.messages.fleet import FleetStatus, MachineDetail, RegionDetail, RegionStatus, StoredTotals

MACHINE_WAIT_S: Final = 10.0
"""How long a machine's region is given to say what runs there."""


_COLUMNS: Final[Mapping[str, int]] = {
    "WHEN": 0,
    "KIND": 0,
    "COMMIT": 0,
    "STATE": 0,
    "BUILD": 2,
    "COPY": 2,
    "DISTRIBUTE": 2,
    "ACTIVE": 1,
    "SIZE": 3,
    "ORIGIN": 4,
    "PEERS": 4,
    "LOCAL": 4,
    "ID": 0,
}
"""Of deployments; where a terminal has no room for all, those with the highest figure are left out first."""


def status(
    what: str | None = None,
    *,
    environment: str | None = None,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> None:
    """Show the fleet, or one service, deployment, region or machine.

    For example: `fleetcast status`, `fleetcast status web`, `fleetcast status eu-west`, `fleetcast status machine:web`

    Parameters
    ----------
    what
        Its name or id; of a deployment's id the beginning is enough. Where a word names several things, say which:
        service:NAME, deployment:ID, region:NAME, machine:ID.
    environment
        Of the service that is named: deployments in this one only; default: in all.
    json
        Print it as JSON.
    """
    if what is None:
        fleet = connection.ask(lambda control: control.status())
        print_json(fleet) if json else print(_fleet_text(fleet))
        return
    said, shown = connection.ask(lambda control: _look(control, what, environment))
    if json:
        print_json(shown)
    else:
        print(said)


def deployments_table(deployments: Sequence[Deployment], now_ms: float | None = None) -> str:
    """One line a deployment: when, what came of it, which build it ordered and where its time went, and where its bytes came
    from.

    ``now_ms``: UTC; by default this machine's clock.
    """
    now_ms = time.time() * 1000 if now_ms is None else now_ms
    rows = [[ago((now_ms - item.created_at_ms) / 1000), *_row(item)] for item in deployments]
    header, ranks = list(_COLUMNS), list(_COLUMNS.values())
    if len({item.environment for item in deployments}) > 1:
        # Only where there is something to tell apart.
        header.insert(2, "ENVIRONMENT")
        ranks.insert(2, 0)
        for row, item in zip(rows, deployments, strict=True):
            row.insert(2, item.environment)
    return stdout_table(*fitted(header, rows, ranks, stdout_width()))


def _row(item: Deployment) -> list[str]:
    progress = item.progress
    return [
        item.kind,
        short(item.commit_sha),
        item.state,
        seconds(item.build_s) if item.build is None else f"{item.build} ({seconds(item.build_s)})",
        *map(seconds, (item.replicate_s, item.distribute_s)),
        f"{progress.active}/{progress.total}",
        *map(size, (item.artifact_bytes, progress.bytes.origin, progress.bytes.peer, progress.bytes.local)),
        item.id,
    ]


async def _look(control: ControlClient, what: str, environment: str | None) -> tuple[str, object]:
    """What to say about it, and the same for programs."""
    from fleetcast.cli import naming
    from fleetcast.cli.machines import machine_text
    from fleetcast.model import ids
    from fleetcast.model.errors import Invalid
    from fleetcast.model.messages.fleet import Kind

    found: MachineDetail | RegionDetail | DeploymentDetail
    named = await naming.meant(control, what)
    if named.kind is Kind.SERVICE:
        return await _service(control, named.name, environment)
    if environment is not None:
        raise Invalid("not_in_environments", f"{what} is a {named.kind}: --environment is for services")
    if named.kind is Kind.MACHINE:
        found = await control.machine(ids.machine_id(named.name), wait_s=MACHINE_WAIT_S)
        return machine_text(found), found
    if named.kind is Kind.REGION:
        found = await control.region(ids.region_name(named.name))
        return region_text(found), found
    found = await control.deployment(ids.DeploymentId(named.name))
    return _deployment_text(found), found


async def _service(control: ControlClient, name: str, environment: str | None) -> tuple[str, object]:
    from fleetcast.model.errors import NotFound
    from fleetcast.model.ids import service_name

    wanted = service_name(name)
    deployments = (await control.deployment_page(service=wanted, environment=environment, limit=SHOWN)).items
    lines = []
    try:
        await control.service(wanted)
    except NotFound as removed:
        lines.append(removed.message)
    if deployments:
        lines.append(deployments_table(deployments))
        lines += rollbacks_text((await control.region_rollbacks(service=wanted)).items)
    return "\n".join(lines) or f"{name} has no deployments; next: fleetcast deploy {name}@SHA", deployments


def _deployment_text(found: DeploymentDetail) -> str:
    copies = [[copy.bucket, copy.status, copy.reason] for copy in found.replicas]
    when = ago(time.time() - found.deployment.created_at_ms / 1000)
    who = f" by {found.deployment.by}" if found.deployment.by else ""
    build = "" if found.deployment.build is None else f", build {found.deployment.build}"
    waves = f"\n{waves_text(found)}" if found.waves else ""
    checks = f"\n{checks_text(found.checks)}" if found.checks else ""
    plan = f", rolled out by {found.deployment.plan}"
    override = found.deployment.override_freeze
    overridden = f", whatever is frozen: {override}" if override else ""
    table = stdout_table(["BUCKET", "COPY", "WAITS FOR"], copies)
    came = "" if found.deployment.promoted_from is None else f", promoted from {found.deployment.promoted_from}"
    why = f"\nit was let in although: {showable(found.deployment.override)}" if found.deployment.override else ""
    lines = f"{describe(found.deployment)}\ntriggered {when}{who}{build}{came}{plan}{overridden}{why}"
    return f"{lines}\n{table}{waves}{checks}"


def standing_of(region: RegionStatus) -> str:
    """Why nothing waits for a region that is drained, in a word or two."""
    if region.silent_at_ms is None:
        return "drained"
    return "catching up" if region.catching_up else "silent"


def region_text(found: RegionDetail) -> str:
    """How it is, what it waits for a person to see to, what its bucket lacks and what is under way there."""
    region = found.region
    silent = f" ({found.silent} silent)" if found.silent else ""
    drained = f"; {standing_of(region)}: nothing waits for it" if region.drained else ""
    started = ago(found.started_age_s)
    lines = [
        f"region {region.name}: {counted(region.machines, 'machine')}{silent}, last report {_age(region.last_report_age_s)}, "
        f"started {started}{drained}"
    ]
    lines += [f"alarm: {showable(alarm)}" for alarm in region.alarms]
    if found.copies:
        rows = [[short(c.digest), size(c.bytes_copied), size(c.bytes_total), c.error] for c in found.copies]
        lines += ["", stdout_table(["LACKS", "HAS", "OF", "ERROR"], rows)]
    if found.deployments:
        header = ["DEPLOYMENT", "SERVICE", "COMMIT", "STATE", "HAVE IT", "ACTIVE", "FAILED", "OF"]
        rows = [
            [
                part.deployment.id,
                part.deployment.service,
                short(part.deployment.commit_sha),
                part.deployment.state,
                *map(str, (part.fetched, part.active, part.failed, part.expected)),
            ]
            for part in found.deployments
        ]
        lines += ["", stdout_table(header, rows)]
    else:
        lines += ["no deployment is under way here"]
    return "\n".join(lines)


def _fleet_text(fleet: FleetStatus) -> str:
    count = sum(region.machines for region in fleet.regions)
    regions = stdout_table(
        ["REGION", "MACHINES", "LAST REPORT"],
        [
            [r.name + (f" ({standing_of(r)})" if r.drained else ""), str(r.machines), _age(r.last_report_age_s)]
            for r in fleet.regions
        ],
    )
    lines = [
        f"fleetcast {fleet.version}: {counted(count, 'machine')} in {counted(len(fleet.regions), 'region')}, "
        f"{counted(len(fleet.services), 'service')}",
        regions,
    ]
    lines += [f"alarm: control: {showable(alarm)}" for alarm in fleet.alarms]
    lines += [f"alarm: {region.name}: {showable(alarm)}" for region in fleet.regions for alarm in region.alarms]
    lines += rollbacks_text(fleet.region_rollbacks)
    if fleet.stored is not None and fleet.stored.main_artifacts:
        lines += [_stored_text(fleet.stored)]
    if fleet.deployments:
        now_s = time.time()
        told = [[ago(now_s - item.created_at_ms / 1000), describe(item)] for item in fleet.deployments]
        lines += ["", stdout_table(["WHEN", "NEWEST DEPLOYMENT OF EACH SERVICE"], told)]
    return "\n".join(lines)


def _stored_text(stored: StoredTotals) -> str:
    pinned = f" ({stored.pinned} pinned)" if stored.pinned else ""
    return (
        f"stored: {counted(stored.main_artifacts, 'artifact')}, {size(stored.main_bytes)} in the main store{pinned}; "
        f"{stored.region_artifacts}, {size(stored.region_bytes)} in each region's bucket"
    )


def _age(age_s: float | None) -> str:
    return "never" if age_s is None else ago(age_s)
