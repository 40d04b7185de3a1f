"""``fleetcast backup`` and ``fleetcast restore``: all that control knows, in one file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from fleetcast.cli.output import counted, print_json, size, when
from fleetcast.model.limits import RESTORE_NAMED_MAX

if TYPE_CHECKING:
    from fleetcast.launch.restoring import Restored
    from fleetcast.launch.settings import ControlSettings, Settings

WhichSettings = Annotated[Path | None, Parameter(env_var="FLEETCAST_SETTINGS")]
_HOLDS: Final = (
    "it holds secrets (data keys of regions, tokens of builds): keep it as one\n"
    "not in it: settings, secrets/, keys/ and the blobs of the main store; back those up apart"
)


def backup(file: Path, /, *, json: bool = False, settings: WhichSettings = None) -> None:
    """Write all that control knows into one file: its database and the global key-value store. Control may run meanwhile.

    The file is for its owner only, has a checksum, and can be restored on any engine. It holds what gives access (data keys of
    regions, tokens of builds that run). Settings, `secrets/`, `keys/` and the blobs of the main store are not in it.

    For example: `fleetcast backup /var/backups/fleetcast-monday.backup`

    Parameters
    ----------
    file
        The file to write. One that is there already is left alone.
    json
        Print what is in it as JSON.
    settings
        Settings file, or its directory; default: fleetcast-data/settings.toml.
    """
    import asyncio

    from fleetcast.launch import restoring

    _, control = settings_of_control(settings)
    footer = asyncio.run(restoring.backup(control, file))
    tables = {name: sums.count for name, sums in footer.tables.items()}
    taken_bytes = file.stat().st_size
    if json:
        print_json({"file": str(file.absolute()), "bytes": taken_bytes, "rows": tables, "keys": footer.keys.count})
        return
    print(f"{file}: {counted(sum(tables.values()), 'row')}, {counted(footer.keys.count, 'key')}, {size(taken_bytes)}")
    print(_HOLDS)


def restore(
    file: Path, /, *, replace: bool = False, check: bool = False, json: bool = False, settings: WhichSettings = None
) -> None:
    """Put a backup into the database and the key-value store that the settings name, with control stopped.

    All of it is verified first; then all of it is there, or nothing has changed. Builds that ran then are queued again, and
    goals are written in a new epoch, above all that regions and machines may have seen since: when control starts, *machines go
    back to what was wanted when the backup was made*.

    For example: `fleetcast restore /var/backups/fleetcast-monday.backup`

    Parameters
    ----------
    file
        What `fleetcast backup` wrote.
    replace
        Lose what is in the database now.
    check
        Only verify the file, and say what is in it.
    json
        Print what was done as JSON.
    settings
        Settings file, or its directory; default: fleetcast-data/settings.toml.
    """
    import asyncio

    from fleetcast.backups.restoring import verified
    from fleetcast.launch import restoring

    found = verified(file)
    keys, taken_at_ms = found.footer.keys.count, found.header.taken_at_ms
    about = f"{file}: {counted(found.rows, 'row')}, {counted(keys, 'key')}, as of {when(taken_at_ms)} UTC"
    if check and json:
        print_json({"rows": found.rows, "keys": keys, "taken_at_ms": taken_at_ms, "version": found.header.version})
    elif check:
        print(f"{about}; it is whole")
    if check:
        return
    known, control = settings_of_control(settings)
    restored = asyncio.run(restoring.restore(known, control, found, replace=replace))
    if json:
        print_json(restored)
        return
    print(f"{about}; all of it is restored")
    for line in _told(restored):
        print(line)


def settings_of_control(given: Path | None) -> tuple[Settings, ControlSettings]:
    """Raises as ``sources.load``, and where control is not on this host."""
    from fleetcast.launch import sources
    from fleetcast.launch.engines import control_of

    file = sources.settings_file(given, os.environ)
    settings = sources.load(file, environ=os.environ)
    return settings, control_of(settings, file)


def named(names: Sequence[str]) -> str:
    """A list for people, cut short."""
    more = len(names) - RESTORE_NAMED_MAX
    return ", ".join(names[:RESTORE_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _told(restored: Restored) -> Iterator[str]:
    if restored.goals:
        yield f"{counted(restored.goals, 'service')}: their machines go back to what was wanted then, when control starts"
    if restored.builds_requeued:
        yield f"{counted(restored.builds_requeued, 'build')} ran then: queued again"
    if restored.deployments_unfinished:
        yield f"{counted(restored.deployments_unfinished, 'deployment')} had not ended then: going on"
    if restored.unknown_services:
        yield f"deployed since, and not known any more: {named(restored.unknown_services)}"
        yield "  (their machines keep what they run: add these services again, and deploy)"
    if restored.without_blobs:
        yield f"not in the main store: {named(restored.without_blobs)}"
        yield "  (regions that have them go on with them: build them again for others, fleetcast deploy ... --rebuild)"
    yield "next: start control (fleetcast up, or fleetcast control), and look at fleetcast status"
