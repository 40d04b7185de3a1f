"""How many builds the workers should be able to run, and why (pure)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """The queue at one moment."""

    running: int
    ready: int
    """Builds that wait for nothing but a worker."""
    held_up: int
    """Builds that wait for something else: no worker helps them now."""
    idle: int
    """Slots of workers that ask for a build and have none."""
    oldest_ready_s: float
    """How long the one that waited longest has been ready."""


@dataclass(frozen=True, slots=True)
class Wanted:
    workers: int
    """Slots: builds that should be able to run at a time."""
    why: str


def wanted(load: Load) -> Wanted:
    """A slot for everything that runs or could run. A build takes minutes and a worker starts in seconds: nothing is gained by
    letting a build wait for another to end. What to keep when nothing runs is the business of whoever scales."""
    slots = load.running + load.ready
    parts = [f"{load.running} running"]
    if load.ready:
        parts.append(f"{load.ready} could run (the longest wait is {load.oldest_ready_s:.0f} s)")
    if load.held_up:
        parts.append(f"{load.held_up} held up by a bound or until a next attempt, which no worker changes")
    if load.ready:
        missing = load.ready - load.idle
        parts.append(
            f"{missing} slot{'s are' if missing > 1 else ' is'} missing" if missing > 0 else "idle workers will take them"
        )
    elif load.idle:
        parts.append(f"{load.idle} idle and not needed")
    return Wanted(slots, ", ".join(parts))
