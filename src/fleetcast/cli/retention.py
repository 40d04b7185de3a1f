"""``fleetcast artifact pin``, ``unpin`` and ``collect``: what is kept of artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetcast.cli import commits
from fleetcast.cli.connection import NO_CONNECTION, Connection, everything
from fleetcast.cli.output import counted, print_json, size
from fleetcast.cli.terminal import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetcast.client.control import ControlClient
    from fleetcast.model.messages.artifacts import ArtifactDetail
    from fleetcast.model.messages.retention import RetentionItem, TierVerdict


def pin(name: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Keep an artifact, whatever its age and however many there are.

    For example: `fleetcast artifact pin web@main`

    Parameters
    ----------
    name
        SERVICE@REV or SERVICE/SHA; SHA.2 for the first rebuild.
    json
        Print the artifact as JSON.
    """
    detail = connection.ask(lambda control: _pin(control, name, "pin", quiet=json))
    print_json(detail) if json else print(f"{detail.name} is pinned: it is never collected")


def unpin(name: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Leave a pinned artifact to the rules again.

    For example: `fleetcast artifact unpin web@main`

    Parameters
    ----------
    name
        SERVICE@REV or SERVICE/SHA; SHA.2 for the first rebuild.
    json
        Print the artifact as JSON.
    """
    detail = connection.ask(lambda control: _pin(control, name, "unpin", quiet=json))
    print_json(detail) if json else print(f"{detail.name} is not pinned: it is collected when nobody needs it")


def collect(*, dry_run: bool = False, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Collect artifacts that nobody needs, now and not at control's next turn.

    What goes is beyond the bounds in the settings (main_retention_..., region_retention_...), and neither pinned nor deployed
    nor what a rollback goes back to.

    For example: `fleetcast artifact collect --dry-run`

    Parameters
    ----------
    dry_run
        Collect nothing; say of each artifact whether it would be, and why or why not.
    json
        Print it as JSON.
    """
    if dry_run:
        items = connection.ask(lambda control: everything(control.retention()))
        print_json(items) if json else _print_plan(items)
        return
    collected = connection.ask(lambda control: control.collect())
    if json:
        print_json(collected)
        return
    main, regions = counted(len(collected.main), "artifact"), counted(len(collected.regions), "artifact")
    print(f"collected from the main store: {main}, {size(collected.main_bytes)}")
    print(f"collected from each region's bucket: {regions}, {size(collected.region_bytes)}")


async def _pin(control: ControlClient, what: str, command: str, *, quiet: bool) -> ArtifactDetail:
    name = await commits.artifact(control, commits.parse_artifact(what, command), quiet=quiet)
    return await control.pin(name, pinned=command == "pin")


def _print_plan(items: Sequence[RetentionItem]) -> None:
    if not items:
        print("no artifacts; next: fleetcast build SERVICE@REV")
        return
    rows = [[_shown(item), size(item.bytes), _word(item.main), _word(item.regions), _why(item)] for item in items]
    print_table(["ARTIFACT", "SIZE", "MAIN STORE", "REGIONS", "WHY"], rows)
    main = [item.bytes for item in items if item.main.collect]
    regions = [item.bytes for item in items if item.regions is not None and item.regions.collect]
    print(
        f"would be collected: {len(main)} of {len(items)} from the main store ({size(sum(main))}), "
        f"{len(regions)} from each region's bucket ({size(sum(regions))})"
    )


def _shown(item: RetentionItem) -> str:
    service, _, commit = item.artifacts[0].partition("/")
    sha, dot, number = commit.partition(".")
    more = len(item.artifacts) - 1
    return f"{service}@{sha[:12]}{dot}{number}" + (f" and {more} more" if more else "")


def _word(verdict: TierVerdict | None) -> str:
    return "-" if verdict is None else "collect" if verdict.collect else "keep"


def _why(item: RetentionItem) -> str:
    if item.regions is None or item.regions.reason == item.main.reason:
        return item.main.reason
    if not item.main.collect and not item.regions.collect:
        return item.regions.reason
    return f"regions: {item.regions.reason}; main store: {item.main.reason}"
