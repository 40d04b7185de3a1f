"""What the doctor says: one verdict a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings, RegionSettings, Settings


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    says: str
    """What was found."""
    advice: str = ""
    """What to do about it; empty when all is well."""


def ok(name: str, says: str) -> Check:
    return Check(name, Verdict.OK, says)


def warn(name: str, says: str, advice: str) -> Check:
    return Check(name, Verdict.WARN, says, advice)


def fail(name: str, says: str, advice: str) -> Check:
    return Check(name, Verdict.FAIL, says, advice)


def owners(settings: Settings, of_control: str, of_region: str) -> Iterator[tuple[str, ControlSettings | RegionSettings]]:
    """Who has stores of their own, with what to call theirs: ``of_region`` with a place for the region's name."""
    if settings.control is not None:
        yield of_control, settings.control
    for region in settings.regions:
        yield of_region.format(region.name), region
