"""Blob stores that are no directories: whether they let us in, do what is needed, and agree with us about the time."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from fleetcast.cli.doctor.asking import Answer, ask
from fleetcast.cli.doctor.checks import Check, answering, fail, owners
from fleetcast.cli.doctor.clocks import clock
from fleetcast.model.errors import FleetcastError

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings, RegionSettings, Settings

STEPS: Final = 7
"""Requests of a probe, one after the other."""
_LOOK_S_MAX: Final = 5


def stores(settings: Settings) -> Iterator[Check]:
    """All there is to say about them; nothing about directories (``installation.py``)."""
    for name, owner in owners(settings, "main store", "store of {}"):
        yield from _store(name, owner)


def _store(name: str, settings: ControlSettings | RegionSettings) -> Iterator[Check]:
    from fleetcast.launch.store import s3_place

    try:
        place = s3_place(settings)
        if place is None:
            return
        from fleetcast.stores.s3_bucket import probe

        about = _about(place.address.endpoint)
        if about is not None and about.clock_behind_s is not None:  # a store refuses signatures that are not of its time
            yield clock(f"clock of {name}", "the store's", about.clock_behind_s)
        began = time.monotonic()
        probe(place)
        step_s = (time.monotonic() - began) / STEPS
    except FleetcastError as error:
        yield fail(name, error.message, "docs/operations.md says what a store must do and what its credentials must allow")
    else:
        server = f" ({about.server})" if about is not None and about.server else ""
        says = f"{place.address}{server} takes, lists and deletes, and overwrites nothing"
        yield answering(name, says, step_s)


def _about(endpoint: str) -> Answer | None:
    """What a store tells everybody, whatever it thinks of the question; ``None``: nothing, and the probe says why."""
    try:
        return ask(endpoint, "/", timeout_s=_LOOK_S_MAX, method="HEAD") if endpoint else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
