"""``fleetcast migrate``: what an installation keeps, on to other engines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from fleetcast.cli.backups import WhichSettings, settings_of_control
from fleetcast.cli.output import counted, print_json, size
from fleetcast.model.limits import MIGRATE_TOLD_EVERY_S

if TYPE_CHECKING:
    from fleetcast.backups.blob_copies import Amount
    from fleetcast.launch.migrating import Moved


def migrate(*, to: Annotated[Path, Parameter(name="--to")], json: bool = False, settings: WhichSettings = None) -> None:
    """Move tables, keys and blobs to the engines that other settings name, with control and regions stopped.

    From SQLite to PostgreSQL, from files to etcd, from directories to an S3-compatible store, or the other way round: whatever
    differs between the two settings, of control and of each region in them. Every blob is verified where it was written.
    Nothing of the engines of now is changed, and whoever is stopped in between does the same again. Machines run on meanwhile.

    For example: `fleetcast migrate --to fleetcast-data/real.toml`

    Parameters
    ----------
    to
        Settings file that names the new engines: a copy of the other one, beside it, with only these changed.
    json
        Print what was moved as JSON.
    settings
        Settings file of now, or its directory; default: fleetcast-data/settings.toml.
    """
    from fleetcast.launch import migrating

    now, _ = settings_of_control(settings)
    then, _ = settings_of_control(to)
    moved = migrating.migrate(now, then, _Progress().tell)
    if json:
        print_json(moved)
        return
    for line in _told(moved):
        print(line)
    print(f"next: from now on use {_file(to)} instead of {_file(settings)} (move it there), and start control and regions")
    print("  (what was kept before is unchanged: delete it when you no longer want it, and never start control on it again)")


class _Progress:
    """A line for each store now and then, and at its end."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def tell(self, store: str, done: Amount, wanted: Amount) -> None:
        if done == wanted or time.monotonic() - self._told_at > MIGRATE_TOLD_EVERY_S:
            self._told_at = time.monotonic()
            amounts = f"{size(done.size_bytes)} of {size(wanted.size_bytes)}"
            print(f"store {store}: {done.blobs} of {counted(wanted.blobs, 'blob')}, {amounts}", file=sys.stderr, flush=True)


def _told(moved: Moved) -> Iterator[str]:
    for store, amount in moved.blobs.items():
        yield f"store {store}: {counted(amount.blobs, 'blob')}, {size(amount.size_bytes)}, verified"
    for store, count in moved.keys.items():
        yield f"keys {store}: {counted(count, 'key')}, compared"
    if moved.rows is not None:
        yield f"tables: {counted(moved.rows, 'row')}, compared"
    if moved.builds_requeued:
        yield f"{counted(moved.builds_requeued, 'build')} ran when control was stopped: queued again"


def _file(given: Path | None) -> Path:
    from fleetcast.launch import sources

    return sources.settings_file(given, os.environ)
