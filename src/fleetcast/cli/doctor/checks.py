"""What the doctor says: one verdict a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings, RegionSettings, Settings


ANSWER_WARN_S: Final = 0.5
"""What engines need for one step, at most: a deployment takes dozens of them."""


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


def answering(name: str, says: str, step_s: float) -> Check:
    """Of an engine that is well, unless a step of it takes longer than :data:`ANSWER_WARN_S`."""
    says = f"{says}, {1000 * step_s:.0f} ms a step"
    if step_s > ANSWER_WARN_S:
        return warn(name, says, "look at its disk, its load and the network between: everything waits for it")
    return ok(name, says)


def is_there(path: Path) -> bool:
    """Whether it is, as far as we may look; ``Path.exists`` raises where we may not."""
    return os.access(path, os.F_OK)


def owners(settings: Settings, of_control: str, of_region: str) -> Iterator[tuple[str, ControlSettings | RegionSettings]]:
    """Who has stores of their own, with what to call theirs: ``of_region`` with a place for the region's name."""
    if settings.control is not None:
        yield of_control, settings.control
    for region in settings.regions:
        yield of_region.format(region.name), region
