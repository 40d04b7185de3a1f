"""What outside checks make of a wave: their answers are facts, asked for elsewhere, and this decides by them (pure).

One that fails several times in a row makes the release sick. One that has not said, since everybody is healthy and lately, that
all is well keeps the wave: nothing is concluded from what was not answered. Not for ever: after a bound it stops where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fleetcast.model.check import Check, CheckAnswer, CheckOutcome
from fleetcast.model.limits import CHECK_S_MAX, CHECK_WAIT_S_MAX
from fleetcast.model.spans import span
from fleetcast.rollouts.budgets import figures
from fleetcast.rollouts.wave_gate import Judgement, Verdict, WaveFacts


@dataclass(frozen=True, slots=True)
class CheckFacts:
    """What is known of one check of the wave under way. Times in UTC milliseconds by the database's clock."""

    check: Check
    outcome: CheckOutcome | None = None
    """Of the last answer; ``None``: it was not asked yet."""
    figures: str = ""
    answered_at_ms: int | None = None
    failures: int = 0
    """In a row."""
    not_passed_since_ms: int | None = None
    """Since which answer none has passed; ``None``: the last one has."""

    def passed(self, healthy_at_ms: int, now_ms: int) -> bool:
        """Whether it has, since everybody is healthy, and lately."""
        at_ms = self.answered_at_ms
        if self.outcome is not CheckOutcome.PASSED or at_ms is None or not healthy_at_ms <= at_ms <= now_ms:
            return False
        return now_ms - at_ms <= (2 * self.check.every_s + CHECK_S_MAX) * 1000

    @property
    def words(self) -> str:
        """``check errors: 0.07 is not below 0.01``."""
        if self.outcome is None:
            return f"check {self.check.title}, which was not asked yet"
        if self.outcome is CheckOutcome.PASSED:
            return f"check {self.check.title} to pass again"
        failed = f"failed, {self.failures} in a row" if self.outcome is CheckOutcome.FAILED else "not known"
        return f"check {self.check.title} ({failed}): {self.figures}"


def taken_in(facts: CheckFacts, answer: CheckAnswer, now_ms: int) -> CheckFacts:
    """What is known after an answer. One that says nothing neither adds to the failures in a row nor ends them."""
    failures = facts.failures + (answer.outcome is CheckOutcome.FAILED)
    passed = answer.outcome is CheckOutcome.PASSED
    # Dated later than now: before the clock was set back.
    since_ms = now_ms if facts.not_passed_since_ms is None else min(now_ms, facts.not_passed_since_ms)
    return CheckFacts(
        facts.check,
        answer.outcome,
        answer.figures,
        now_ms,
        0 if passed else failures,
        None if passed else since_ms,
    )


def heed(judged: Judgement, wave: WaveFacts, checks: Sequence[CheckFacts], now_ms: int) -> Judgement:
    """What was judged by the machines, with what the outside checks of the wave say. Whoever promotes it does not wait for
    them, as for the rest of the bake; one that makes the release sick counts all the same."""
    title = wave.plan.title(wave.number)
    if judged.verdict is Verdict.ROLL_BACK:
        return judged
    for each in checks:
        if each.failures >= each.check.failures:
            said = f"check {each.check.title} failed {each.failures} times in a row: {each.figures}"
            return Judgement(Verdict.ROLL_BACK, f"{title}: {said}")
    if judged.verdict is not Verdict.ADVANCE or judged.healthy_at_ms is None or wave.promoted or not checks:
        return judged
    missing = list(_missing(checks, judged.healthy_at_ms, now_ms))
    if not missing:
        said = ", ".join(f"check {each.check.title} passed: {each.figures}" for each in checks)
        return replace(judged, reason=f"{judged.reason}; {said}")
    baked_at_ms = judged.healthy_at_ms + wave.plan.waves[wave.number].bake_s * 1000
    words = "; ".join(each.words for each in missing)
    if any(now_ms - max(baked_at_ms, _since(each)) > CHECK_WAIT_S_MAX * 1000 for each in missing):
        return Judgement(Verdict.STOP, f"{title}: waited {span(CHECK_WAIT_S_MAX)} after its bake for {words}")
    well = figures(wave.regions, "healthy")
    return Judgement(Verdict.HOLD, f"{title}: {well}; waiting for {words}", judged.healthy_at_ms)


def _missing(checks: Sequence[CheckFacts], healthy_at_ms: int, now_ms: int) -> Iterator[CheckFacts]:
    return (each for each in checks if not each.passed(healthy_at_ms, now_ms))


def _since(facts: CheckFacts) -> int:
    """Since when, at the earliest, it is waited for."""
    if facts.not_passed_since_ms is not None:
        return facts.not_passed_since_ms
    return facts.answered_at_ms or 0
