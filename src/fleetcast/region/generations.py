"""Whether a region takes a goal that it is offered (law 3). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from fleetcast.model.goal import Goal


class Verdict(Enum):
    TAKE = auto()
    """Newer than what is held: write it."""
    KNOWN = auto()
    """Held already."""
    REFUSE = auto()
    """Older than what is held."""
    CONTRADICTION = auto()
    """The generation that is held, with other content: somebody wrote past the compare-and-swap."""


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    reason: str = ""
    """For a person, when the goal is not taken and ought to have been; empty otherwise."""


def judge(held: Goal | None, offered: Goal) -> Judgement:
    """Compare an offered goal with the one held under the same key."""
    if held is None or offered.generation > held.generation:
        return Judgement(Verdict.TAKE)
    what = f"goal of {offered.service} in {offered.environment}"
    if offered.generation < held.generation:
        return Judgement(
            Verdict.REFUSE,
            f"{what}: generation {_text(offered)} was offered and refused, {_text(held)} is held: "
            "write it again with a raised epoch",
        )
    if offered == held:
        return Judgement(Verdict.KNOWN)
    return Judgement(
        Verdict.CONTRADICTION,
        f"{what}: generation {_text(held)} was offered with other content and refused: write it again with a raised epoch",
    )


def _text(goal: Goal) -> str:
    return f"{goal.generation.epoch}.{goal.generation.counter}"
