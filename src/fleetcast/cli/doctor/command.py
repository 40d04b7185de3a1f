"""The command ``fleetcast doctor``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.doctor.checks import Check, Verdict, fail, ok, warn
from fleetcast.cli.doctor.host import host
from fleetcast.cli.output import counted, print_json
from fleetcast.cli.terminal import verdict
from fleetcast.model.errors import FleetcastError, NotFound

if TYPE_CHECKING:
    from fleetcast.launch.settings import Settings


def doctor(*, json: bool = False, connection: Connection = NO_CONNECTION) -> int:
    """Look for what is wrong on this host and with its installation, and say what to do. Changes nothing; in an S3-compatible
    store it writes a small object and deletes it.

    Works whether the installation is up, down, or not there. The exit code is 1 when something failed; warnings do not count.

    For example: `fleetcast doctor`, or `fleetcast doctor --settings /srv/fleetcast/settings.toml --json`

    Parameters
    ----------
    json
        Print all checks as JSON.
    """
    checks: list[Check] = []
    for check in _all(connection):
        checks.append(check)
        if not json:
            print(_line(check), flush=True)
    if json:
        print_json(checks)
    failed = sum(check.verdict is Verdict.FAIL for check in checks)
    if not json and failed:
        print(f"{failed} of {len(checks)} checks failed", file=sys.stderr)
    return 1 if failed else 0


def _all(connection: Connection) -> Iterator[Check]:
    from fleetcast.cli.doctor.control import control
    from fleetcast.cli.doctor.database import database
    from fleetcast.cli.doctor.installation import installation, ports_of
    from fleetcast.cli.doctor.key_values import key_values
    from fleetcast.cli.doctor.listeners import listeners
    from fleetcast.cli.doctor.permissions import permissions
    from fleetcast.cli.doctor.retention import retention
    from fleetcast.cli.doctor.store import stores

    yield from host()
    settings, said = _settings(connection)
    yield from said
    if settings is not None:
        yield from permissions(settings)
        yield from installation(settings)
        yield from retention(settings)
        yield from database(settings)
        yield from key_values(settings)
        yield from stores(settings)
    if settings is None and not connection.control_url:
        return
    try:
        url, token = connection.address()
    except FleetcastError as error:
        yield warn("control", error.message, "pass --control-url and --token-file to have it looked at")
        return
    here = settings.control if settings is not None and not connection.control_url else None
    listening = listeners(set(ports_of(settings))) if settings is not None and here is not None else {}
    ours = listening.get(here.port) if here is not None else None
    if ours is not None and ours.pid is not None and not ours.ours:
        return  # its port is somebody else's, which has been said
    down = here is not None and ours is None and not any(listener.ours for listener in listening.values())
    yield from control(url, token, down_is_fine=down)


def _settings(connection: Connection) -> tuple[Settings | None, list[Check]]:
    from fleetcast.launch import sources

    file = sources.settings_file(connection.settings, os.environ)
    try:
        settings = sources.load(file, environ=os.environ)
    except NotFound as error:
        named = connection.settings is not None
        if named:
            return None, [fail("settings", error.message, "check the path")]
        if connection.control_url:
            return None, [ok("settings", f"none here ({file}): control's address was given")]
        return None, [
            warn("settings", f"there is no installation here ({file})", "fleetcast up makes one; --settings FILE names another")
        ]
    except FleetcastError as error:
        return None, [fail("settings", error.message, "correct it")]
    parts = {"worker": settings.workers, "region": settings.regions, "machine": settings.agents}
    counts = ", ".join(counted(len(members), name) for name, members in parts.items())
    return settings, [ok("settings", f"{file}: {'control, ' if settings.control else ''}{counts}")]


def _line(check: Check) -> str:
    return f"{verdict(f'{check.verdict:<4}')}  {check.name}: {check.says}{f'; {check.advice}' if check.advice else ''}"
