"""How long artifacts are kept by the settings: bounds that keep nearly all, or hardly anything, are seldom meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from fleetcast.cli.doctor.checks import Check, ok, warn
from fleetcast.model.spans import span
from fleetcast.retention.collection import Bounds

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings, Settings

DAYS_ENDLESS: Final = 3 * 365
PER_SERVICE_ENDLESS: Final = 1000
"""Beyond both, and without a bound in bytes, a store grows until its disk is full."""
KEPT_S_MIN: Final = 3600
"""What is gone sooner is gone before anybody deploys what was built ahead, or goes back to what ran."""
PER_SERVICE_MIN: Final = 2
"""Fewer, and the release before the last good one is built again where somebody goes back to it."""
INTERVAL_S_MAX: Final = 24 * 3600


def retention(settings: Settings) -> Iterator[Check]:
    """All there is to say about it; nothing where control runs elsewhere."""
    control = settings.control
    if control is None:
        return
    said = [*_wrong(control)]
    yield from said
    if not said:
        yield ok("retention", f"{_shown(_main(control))} in the main store, {_shown(_regions(control))} in each region")


def _wrong(control: ControlSettings) -> Iterator[Check]:
    for tier, where, bounds in (
        ("main", "the main store", _main(control)),
        ("region", "the regions' buckets", _regions(control)),
    ):
        key = f"control.{tier}_retention"
        if not bounds.bytes and bounds.days > DAYS_ENDLESS and bounds.per_service > PER_SERVICE_ENDLESS:
            yield warn(
                "retention", f"next to nothing leaves {where}: {_shown(bounds)}", f"set {key}_bytes to what its disk has"
            )
        kept_s = max(bounds.grace_s, bounds.days * 24 * 3600)
        if kept_s < KEPT_S_MIN:
            says = f"what nobody uses leaves {where} after {span(kept_s)}: what is built ahead, or gone back to, is not there"
            yield warn("retention", says, f"raise control.retention_grace_s or {key}_days")
        if bounds.per_service < PER_SERVICE_MIN:
            says = f"{where} keep{'s' if tier == 'main' else ''} {bounds.per_service} of each service beside what is needed"
            again = "built" if tier == "main" else "copied"
            yield warn("retention", says, f"raise {key}_count: who goes back further waits until it is {again} again")
    if control.retention_interval_s > INTERVAL_S_MAX:
        says = f"control looks only every {span(control.retention_interval_s)} for what may go"
        yield warn("retention", says, "lower control.retention_interval_s: stores grow until then")


def _main(control: ControlSettings) -> Bounds:
    return Bounds(
        control.main_retention_days, control.main_retention_count, control.main_retention_bytes, control.retention_grace_s
    )


def _regions(control: ControlSettings) -> Bounds:
    return Bounds(
        control.region_retention_days, control.region_retention_count, control.region_retention_bytes, control.retention_grace_s
    )


def _shown(bounds: Bounds) -> str:
    return f"{bounds.days:g} days, {bounds.per_service} of a service"
