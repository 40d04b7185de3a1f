"""Which plan a word means, and what a preview says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetcast.cli.plans import checks_text, policy_of, preview_text
from fleetcast.model.check import CheckOutcome, CheckPicture
from fleetcast.model.errors import FleetcastError, Invalid, NotFound, Unprocessable
from fleetcast.model.ids import RegionName, ServiceName
from fleetcast.model.machine import Selector
from fleetcast.model.messages.deployments import Preview
from fleetcast.model.plan import PlannedWave, Policy, Preset, Stage, Wave


@pytest.mark.parametrize("preset", Preset)
def test_a_preset_by_its_name(preset: Preset) -> None:
    assert policy_of(preset.value) == Policy(preset)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rollout.toml"
    path.write_text('regions_at_once = 2\n[[stages]]\nname = "canary"\ncount = 3\n[[stages]]\nby_region = true\nbake_s = 60\n')
    assert policy_of(str(path)) == Policy(
        regions_at_once=2, stages=(Stage("canary", count=3), Stage(by_region=True, bake_s=60))
    )


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("regions_at_once = ", Invalid, "has no plan"),
        ('failed_percent = "none"', Invalid, "has no plan: Expected `int`, got `str` - at `$.failed_percent`"),
        ("[[stages]]\nbake = 5", Invalid, "stage 1: there is no key 'bake': there are name, regions, zones, labels,"),
        (
            "[[freezes]]\nreason = 'x'\nfrom = 5",
            Invalid,
            "freeze 1: there is no key 'from': there are reason, weekdays, hours,",
        ),
        ("[[freezes]]\nreason = 'x'", Unprocessable, "freeze 1: it never ends: say when it ends"),
        ("[[stages]]\npercent = 500", Unprocessable, "stage 1: percent is 500: say 1 to 100"),
    ],
)
def test_a_file_that_is_none_is_told_in_a_line(tmp_path: Path, text: str, error: type[FleetcastError], said: str) -> None:
    path = tmp_path / "rollout.toml"
    path.write_text(text)
    with pytest.raises(error) as refused:
        policy_of(str(path))
    assert said in refused.value.message
    assert "\n" not in refused.value.message


def test_what_is_neither() -> None:
    with pytest.raises(Invalid, match="there is no plan 'canray': say all-at-once, canary, region-by-region, cautious"):
        policy_of("canray")
    with pytest.raises(NotFound, match=r"there is no file nowhere/rollout\.toml"):
        policy_of("nowhere/rollout.toml")


def test_a_preview_is_a_line_a_wave() -> None:
    first = Wave("canary", Selector(), 1, None, 300, "1% of everyone", {RegionName("eu"): 1})
    rest = Wave("everyone", Selector(), None, None, 0, "everyone", {RegionName("eu"): 39, RegionName("us"): 60})
    waves = (PlannedWave(first, 0, 360), PlannedWave(rest, 360, 420))
    preview = Preview(ServiceName("web"), "canary", waves, 100, 420, 1800, 3900, ("it names region mars, which is not there",))
    assert preview_text(preview).splitlines() == [
        "web by canary: 100 machines in 2 waves; every machine fetches from the first wave on",
        "WAVE  NAME      MACHINES      BAKES  STARTS   PASSES  WHO",
        "   1  canary    eu 1          5 min  at once  +6 min  1% of everyone",
        "   2  everyone  eu 39, us 60      -  +6 min   +7 min  everyone",
        "expected to end 7 min after its release is deployable, within the budget of 30 min; "
        "has ended after 65 min whatever happens, pauses apart",
        "note: it names region mars, which is not there",
    ]


def test_a_preview_says_what_would_hold_it_now() -> None:
    everyone = Wave("everyone", Selector(), None, None, 0, "all at once", {RegionName("eu"): 1})
    held = "waiting for approval by 1 more; frozen until 2026-12-01 06:00 UTC (nights)"
    preview = Preview(ServiceName("web"), "all-at-once", (PlannedWave(everyone, 0, 60),), 1, 60, 1800, 3900, held=held)
    assert preview_text(preview).splitlines()[-1] == f"held now: {held}"


def test_a_preview_says_in_a_line_whom_it_would_meet() -> None:
    everyone = Wave("everyone", Selector(), None, None, 0, "all at once", {RegionName("eu"): 1})
    busy = "it would stand in line behind deployment d1, which is DISTRIBUTING, until it has ended"
    preview = Preview(ServiceName("web"), "all-at-once", (PlannedWave(everyone, 0, 60),), 1, 60, 1800, 3900, busy=busy)
    assert preview_text(preview).splitlines()[-1] == f"busy now: {busy}"


def test_a_deployments_checks_are_a_line_each_with_what_a_command_said() -> None:
    checks = (
        CheckPicture("errors", CheckOutcome.PASSED, "0.01 is below 0.5", 0, ""),
        CheckPicture("smoke", CheckOutcome.FAILED, "it exited 3", 2, "GET /cart\n\x1b[2J500\n"),
        CheckPicture("url", None, "", 0, ""),
    )
    assert checks_text(checks).splitlines() == [
        "CHECK   OUTCOME        FAILED IN A ROW  FIGURES",
        "errors  PASSED                       0  0.01 is below 0.5",
        "smoke   FAILED                       2  it exited 3",
        "url     not asked yet                0",
        "smoke: GET /cart",
        "smoke: 500",
    ]
