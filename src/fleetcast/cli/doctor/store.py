"""Blob stores that are no directories: whether they let us in, and do what is needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleetcast.cli.doctor.checks import Check, fail, ok, owners
from fleetcast.model.errors import FleetcastError

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings, RegionSettings, Settings


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

        probe(place)
    except FleetcastError as error:
        yield fail(name, error.message, "docs/operations.md says what a store must do and what its credentials must allow")
    else:
        yield ok(name, f"{place.address} takes, lists and deletes, and overwrites nothing")
