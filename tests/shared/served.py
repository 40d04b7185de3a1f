"""A service that says who it is, for tests of a whole agent: its releases, what was started of them, and what runs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from fleetcast.agent import spawning
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.processes import ServiceProcess

# Says who it is where its health check looks, and lives until told otherwise.
SERVER = (
    'echo "$FLEETCAST_COMMIT $$" >> "$FLEETCAST_DATA/starts"; echo "$FLEETCAST_COMMIT" > "$FLEETCAST_DATA/up"; exec sleep 60'
)
HEALTH = 'test "$(cat "$FLEETCAST_DATA/up")" = "$FLEETCAST_COMMIT"'
LARGE = random.Random(1).randbytes(2_000_000).decode("latin-1")


def server(region: Any, source: Path, commit: str, **more: Any) -> Any:
    """A release of a service that comes up."""
    recipe = {"activate": SERVER, "health": HEALTH, "health_timeout_s": 5.0, **more}
    return region.publish(source, {"version": commit, "large": LARGE}, commit=commit, **recipe)


def starts(agent: Any, name: str = "web") -> list[str]:
    """The commits that were started, in order."""
    path = agent.service(name) / "data" / "starts"
    return [line[0] for line in path.read_text().splitlines()] if path.exists() else []


def running(agent: Any, name: str = "web") -> list[int]:
    """Processes of a service's instance that run now."""
    instance = ServiceProcess(ServiceLayout(agent.service(name))).instance
    return [] if instance is None or not spawning.alive(instance.process) else [instance.process.pid]
