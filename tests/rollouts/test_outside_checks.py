"""What outside checks make of a wave, and which can be taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.check import Check, CheckAnswer, CheckOutcome
from fleetcast.model.generation import Generation
from fleetcast.model.ids import RegionName
from fleetcast.model.limits import CHECK_WAIT_S_MAX
from fleetcast.model.machine import Selector
from fleetcast.model.plan import Plan, Policy, Stage, Wave
from fleetcast.model.report import CohortCounts
from fleetcast.rollouts.outside_checks import CheckFacts, heed, taken_in
from fleetcast.rollouts.plan_lint import problems
from fleetcast.rollouts.wave_gate import Judgement, RegionWave, Verdict, WaveFacts

CHECK = Check("errors", prometheus="http://p", query="x", below=1, every_s=10, failures=2)
PASSED, FAILED, UNKNOWN = CheckOutcome
ANSWERS = {
    PASSED: CheckAnswer(PASSED, "0 is below 1"),
    FAILED: CheckAnswer(FAILED, "3 is not below 1"),
    UNKNOWN: CheckAnswer(UNKNOWN, "no data"),
}
HEALTHY_AT_MS = 100_000
BAKED_AT_MS = 160_000
ADVANCE = Judgement(Verdict.ADVANCE, "wave 1 of 1 (all) passed: 2 of 2 healthy, baked 1 min", HEALTHY_AT_MS)


def _wave(*, promoted: bool = False) -> WaveFacts:
    plan = Plan("own", (Wave("all", Selector(), None, None, 60, "", checks=(CHECK,)),), 5, 5)
    region = RegionWave(RegionName("eu"), 2, CohortCounts(Generation(0, 1), 2, 2, 0, 0, 0))
    return WaveFacts(plan, 0, 0, HEALTHY_AT_MS, promoted, None, 2, (region,))


def _facts(*outcomes: CheckOutcome, last_at_ms: int = BAKED_AT_MS) -> CheckFacts:
    """After these answers, ten seconds apart."""
    facts = CheckFacts(CHECK)
    for number, outcome in enumerate(outcomes):
        facts = taken_in(facts, ANSWERS[outcome], last_at_ms - 10_000 * (len(outcomes) - 1 - number))
    return facts


def _heed(facts: CheckFacts, now_ms: int = BAKED_AT_MS, *, promoted: bool = False) -> tuple[Verdict, str]:
    judged = heed(ADVANCE, _wave(promoted=promoted), (facts,), now_ms)
    return judged.verdict, judged.reason


facts = st.builds(
    CheckFacts,
    st.just(CHECK),
    st.none() | st.sampled_from(CheckOutcome),
    st.just("said"),
    st.none() | st.integers(0, 400_000),
    st.integers(0, 3),
    st.none() | st.integers(0, 400_000),
)
judgements = st.builds(Judgement, st.sampled_from(Verdict), st.just("why"), st.none() | st.integers(0, 400_000))


@given(judgements, st.lists(facts, min_size=1, max_size=3), st.integers(0, 2_000_000))
def test_nothing_advances_on_what_was_not_answered_well_and_lately(
    judged: Judgement, some: list[CheckFacts], now_ms: int
) -> None:
    found = heed(judged, _wave(), some, now_ms)
    if found.verdict is Verdict.ADVANCE and judged.healthy_at_ms is not None:
        assert all(each.outcome is PASSED for each in some)
        assert all(judged.healthy_at_ms <= (each.answered_at_ms or 0) <= now_ms for each in some)


@given(st.lists(facts, max_size=3), st.integers(0, 2_000_000))
def test_no_check_makes_a_wave_wait_for_ever(some: list[CheckFacts], now_ms: int) -> None:
    late = max(now_ms, 400_000) + (CHECK_WAIT_S_MAX + 60) * 1000 + 60_000
    assert heed(ADVANCE, _wave(), some, late).verdict is not Verdict.HOLD


@given(judgements, st.lists(facts, max_size=3), st.integers(0, 2_000_000))
def test_checks_make_no_wave_go_on_that_the_machines_hold(judged: Judgement, some: list[CheckFacts], now_ms: int) -> None:
    found = heed(judged, _wave(), some, now_ms)
    if judged.verdict is not Verdict.ADVANCE:
        assert found.verdict in (judged.verdict, Verdict.ROLL_BACK)


def test_it_passes_with_its_figures() -> None:
    assert _heed(_facts(FAILED, PASSED)) == (Verdict.ADVANCE, f"{ADVANCE.reason}; check errors passed: 0 is below 1")


def test_one_failure_holds_and_two_in_a_row_are_a_sick_release() -> None:
    assert _heed(_facts(PASSED, FAILED)) == (
        Verdict.HOLD,
        "wave 1 of 1 (all): 2 of 2 healthy; waiting for check errors (failed, 1 in a row): 3 is not below 1",
    )
    sick = (Verdict.ROLL_BACK, "wave 1 of 1 (all): check errors failed 2 times in a row: 3 is not below 1")
    assert _heed(_facts(FAILED, FAILED)) == sick
    assert _heed(_facts(FAILED, FAILED), promoted=True) == sick
    assert _heed(_facts(FAILED, PASSED, FAILED))[0] is Verdict.HOLD


def test_a_gap_neither_counts_as_a_failure_nor_ends_a_row() -> None:
    assert _heed(_facts(FAILED, UNKNOWN))[0] is Verdict.HOLD
    assert _heed(_facts(FAILED, UNKNOWN, FAILED))[0] is Verdict.ROLL_BACK


def test_what_cannot_be_asked_holds_and_then_it_stops_where_it_is() -> None:
    unknown = _facts(UNKNOWN)
    said = "waiting for check errors (not known): no data"
    assert _heed(unknown) == (Verdict.HOLD, f"wave 1 of 1 (all): 2 of 2 healthy; {said}")
    assert _heed(unknown, BAKED_AT_MS + CHECK_WAIT_S_MAX * 1000)[0] is Verdict.HOLD
    assert _heed(unknown, BAKED_AT_MS + CHECK_WAIT_S_MAX * 1000 + 1) == (
        Verdict.STOP,
        "wave 1 of 1 (all): waited 10 min after its bake for check errors (not known): no data",
    )
    assert _heed(unknown, promoted=True)[0] is Verdict.ADVANCE


def test_a_gap_after_a_long_hold_has_the_whole_bound() -> None:
    """A freeze has held the wave for a day, and Prometheus is started anew."""
    day = BAKED_AT_MS + 24 * 3600 * 1000
    assert _heed(_facts(PASSED, UNKNOWN, last_at_ms=day), day + 1000)[0] is Verdict.HOLD


def test_what_passed_before_everybody_was_healthy_or_long_ago_is_asked_again() -> None:
    assert _heed(_facts(PASSED, last_at_ms=HEALTHY_AT_MS - 1)) == (
        Verdict.HOLD,
        "wave 1 of 1 (all): 2 of 2 healthy; waiting for check errors to pass again",
    )
    assert _heed(_facts(PASSED), BAKED_AT_MS + 50_000)[0] is Verdict.ADVANCE
    assert _heed(_facts(PASSED), BAKED_AT_MS + 50_001)[0] is Verdict.HOLD
    assert _heed(CheckFacts(CHECK))[1].endswith("waiting for check errors, which was not asked yet")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (Check(), "say exactly one of command, url and query"),
        (Check(url="http://a", command=("b",)), "say exactly one of command, url and query"),
        (Check(url="ftp://a"), "url has to be http(s)://HOST/PATH, in ASCII, without user, password or #"),
        (Check(url="http://me:secret@a/"), "url has to be http(s)://HOST/PATH, in ASCII, without user, password or #"),
        (Check(query="up", above=0), "query and prometheus belong together"),
        (Check(query="up", prometheus="http://p"), "a query, and nothing else, needs below or above"),
        (Check(url="http://a", below=1), "a query, and nothing else, needs below or above"),
        (Check(query="up", prometheus="http://p", below=float("nan")), "below and above are numbers"),
        (Check(command=("a",), expects={"b": 1}), "expects is about the answer of a url"),
        (Check(url="http://a", expects={"a\nb": 1}), "expects names a field that cannot be printed"),
        (Check(url="http://a", every_s=1), "every_s is 1: say 5 to 3600"),
        (Check(url="http://a", failures=0), "failures is 0: say 1 to 100"),
        (Check(command=("",)), "its command names no program"),
    ],
)
def test_what_cannot_be_taken_is_said_in_a_line(check: Check, said: str) -> None:
    (found,) = problems(Policy(stages=(Stage(checks=(check,)),)))
    assert found.startswith(f"stage 1: check 1: {said}")
