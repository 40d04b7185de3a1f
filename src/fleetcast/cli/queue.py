"""``fleetcast queue``: which builds wait, for what, and which run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fleetcast.cli.connection import NO_CONNECTION, Connection, patiently
from fleetcast.cli.output import counted, fitted, print_json, short
from fleetcast.cli.terminal import stdout_table, stdout_width
from fleetcast.model.lines import showable
from fleetcast.model.spans import span

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.build import Build
    from fleetcast.model.messages.queue import QueueStatus

WATCH_INTERVAL_S: Final = 1.0
_COLUMNS: Final[Mapping[str, int]] = {"": 0, "BUILD": 0, "COMMIT": 0, "LANE": 3, "SINCE": 0, "FOR": 1, "LANDS IN": 2}
"""Where a terminal has no room for all, those with the highest figure are left out first."""
_CLEAR: Final = "\x1b[H\x1b[2J"


def queue(*, watch: bool = False, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Show which builds wait, for what and since when, which run, and where they will land.

    For example: `fleetcast queue`, or `fleetcast queue --watch`

    Parameters
    ----------
    watch
        Go on showing it until interrupted.
    json
        Print it as JSON; with --watch, a line at each change.
    """
    if watch:
        connection.ask(lambda control: _watch(control, json=json))
        return
    status = connection.ask(lambda control: control.queue())
    print_json(status) if json else print(queue_text(status))


def queue_text(status: QueueStatus) -> str:
    """The queue for people: a line that sums up, then a line a build."""
    waits = f"{counted(status.queued, 'build')} wait{'s' if status.queued == 1 else ''}" if status.queued else "no build waits"
    urgent = f", {status.urgent} of them urgent" if status.urgent else ""
    lines = [f"{waits}{urgent}; {status.why}"]
    rows = [
        [
            str(one.position),
            *_build(one.build),
            span(one.waited_s),
            showable(one.text),
            ", ".join(one.lands_in) or "-",
        ]
        for one in status.waiting
    ]
    rows += [
        [
            "runs",
            *_build(one.build),
            span(one.running_s),
            f"on {showable(one.build.worker)}, heard of {span(one.silent_s)} ago",
            ", ".join(one.lands_in) or "-",
        ]
        for one in status.under_way
    ]
    if rows:
        header, shown = fitted(list(_COLUMNS), rows, list(_COLUMNS.values()), stdout_width())
        lines.append(stdout_table(header, shown))
    if status.more:
        lines.append(f"and {status.more} more")
    return "\n".join(lines)


def _build(build: Build) -> list[str]:
    return [f"{build.id}", f"{build.service}@{short(build.commit_sha)}", build.lane]


async def _watch(control: ControlClient, *, json: bool) -> None:
    import asyncio

    seen: QueueStatus | None = None
    while True:
        status = await patiently(control.queue)
        if json:
            if seen is None or _without_ages(status) != _without_ages(seen):
                print_json(status)
        elif sys.stdout.isatty():
            print(_CLEAR + queue_text(status), flush=True)
        elif seen is None or _without_ages(status) != _without_ages(seen):
            print(queue_text(status), flush=True)
        seen = status
        await asyncio.sleep(WATCH_INTERVAL_S)


def _without_ages(status: QueueStatus) -> QueueStatus:
    """What makes two looks differ for somebody who waits for news."""
    return replace(
        status,
        oldest_wait_s=0,
        oldest_ready_s=0,
        why="",
        waiting=tuple(replace(one, waited_s=0, text="") for one in status.waiting),
        under_way=tuple(
            replace(one, running_s=0, silent_s=0, build=replace(one.build, last_heartbeat_ms=None)) for one in status.under_way
        ),
    )
