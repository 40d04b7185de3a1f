"""What a live picture says, at the widths of real terminals. ``pytest --golden`` writes the texts in ``golden/`` anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.cli.picture.layout import draw
from fleetcast.cli.picture.machines import count_phases
from fleetcast.cli.picture.rates import LEFT_S_MAX, History, Sample, left_s, rate, sampled
from fleetcast.cli.picture.scene import Paper, Scene
from fleetcast.cli.picture.summary import summary
from fleetcast.cli.picture.text import ASCII, UNICODE, Line, Symbols, amount, cells, plain, span_of
from fleetcast.model.build import Build, BuildStatus
from fleetcast.model.deployment import ByteCounts, Deployment, DeploymentState, Progress
from fleetcast.model.ids import ArtifactName, BuildId, MachineId, RegionName, ServiceName
from fleetcast.model.messages.deployments import DeploymentDetail
from fleetcast.model.picture import RegionPicture
from fleetcast.model.report import MachineProgress, Phase
from shown_deployment import SHA, SIZE, a_deployment

GOLDEN = Path(__file__).parent / "golden"
MIB = 1 << 20
NOW = 1000.0


def a_build(status: BuildStatus) -> Build:
    return Build(BuildId(5), ArtifactName(f"web/{SHA}"), ServiceName("web"), SHA, status, "", 2, "worker-1", 0, None, None, "")


def a_machine(region: str, number: int, phase: Phase | None, percent: int = 100, note: str = "") -> MachineProgress:
    here = SIZE * percent // 100
    return MachineProgress(
        MachineId(f"{region}-{number}"), phase, ByteCounts(here // 4, here - here // 4, 0), SIZE if phase else 0, note
    )


def a_region(name: str, machines: list[MachineProgress], expected: int | None = None, **more: Any) -> RegionPicture:
    phases = [machine.phase for machine in machines if machine.phase is not None]
    known: dict[str, Any] = {
        "reporting": len(phases),
        "fetched": sum(phase is not Phase.FETCHING for phase in phases),
        "active": phases.count(Phase.ACTIVE),
        "failed": phases.count(Phase.FAILED),
        "phases": {phase: phases.count(phase) for phase in set(phases)},
        "bytes": sum((machine.bytes for machine in machines), ByteCounts()),
        "last_report_age_s": 0.4,
        "copy": "COMPLETE",
        "copy_bytes": SIZE,
        "copy_bytes_total": SIZE,
        "machines": tuple(machines),
    }
    return RegionPicture(RegionName(name), len(machines) if expected is None else expected, **{**known, **more})


def a_scene(deployment: Deployment, regions: tuple[RegionPicture, ...] = (), **more: Any) -> Scene:
    """Three seconds into it, during which each region fetched and copied something every second."""
    detail_keys = {"build", "builds_ahead", "age_s"}
    about = {key: value for key, value in more.items() if key in detail_keys}
    told = DeploymentDetail(deployment, about.pop("build", None), (), "v", regions, **{"age_s": 21.7, **about})
    history = History()
    for back in (3, 2, 1, 0):
        earlier = tuple(
            replace(
                region,
                copy_bytes=max(0, region.copy_bytes - back * 5 * MIB),
                bytes=replace(region.bytes, peer=max(0, region.bytes.peer - back * 9 * MIB)),
            )
            for region in regions
        )
        history = history.heard(replace(told, regions=earlier), NOW - back)
    return Scene(told, NOW, history=history, **{key: value for key, value in more.items() if key not in detail_keys})


def progress_of(regions: tuple[RegionPicture, ...]) -> Progress:
    return Progress(
        total=sum(region.expected for region in regions),
        reporting=sum(region.reporting for region in regions),
        fetched=sum(region.fetched for region in regions),
        active=sum(region.active for region in regions),
        failed=sum(region.failed for region in regions),
        bytes=sum((region.bytes for region in regions), ByteCounts()),
    )


SICK = "the health check did not pass within 30 s: it exited with 1: cannot reach db.example:5432; runs 6d1f0c2b9a7e again"


def building() -> Scene:
    log = ("==> build: make release", "compiling part 1 of 3", "\x1b[31mcompiling\x1b[0m part 2 of 3 " + "with care " * 30)
    return a_scene(a_deployment(DeploymentState.BUILDING), build=a_build(BuildStatus.RUNNING), log=log)


def queued() -> Scene:
    reason = "waiting for build 5: in the queue"
    deployment = a_deployment(DeploymentState.BUILDING, reason=reason)
    return a_scene(deployment, build=a_build(BuildStatus.QUEUED), builds_ahead=3)


def replicating() -> Scene:
    regions = (
        a_region("ap-south", [], 4, copy="PENDING", copy_bytes=24 * MIB),
        a_region("eu-west", [], 4),
        a_region(
            "us-east", [], 4, copy="FAILED", copy_bytes=0, waiting_for="another attempt: its source sent nothing for 15 s"
        ),
    )
    reason = "waiting for ap-south: PENDING (being copied); us-east: FAILED"
    return a_scene(a_deployment(DeploymentState.REPLICATING, reason=reason), regions)


def distributing() -> Scene:
    regions = (
        a_region("ap-south", [a_machine("ap-south", n, Phase.FETCHING, 20 * n) for n in (1, 2, 3, 4)]),
        a_region(
            "eu-west",
            [
                a_machine("eu-west", 3, Phase.FAILED, note=SICK),
                a_machine("eu-west", 4, Phase.FETCHED, note="a permit: 1 of 1 is down"),
                a_machine("eu-west", 1, Phase.ACTIVE),
                a_machine("eu-west", 2, Phase.ACTIVATING),
            ],
            waiting_for="eu-west-4: a permit: 1 of 1 is down",
        ),
        a_region("us-east", [a_machine("us-east", n, None, 0) for n in (1, 2, 3, 4)], last_report_age_s=42.0),
    )
    reason = "waiting for ap-south: 0 of 4 machines active; eu-west: 1 of 4 machines active, 1 failed"
    return a_scene(a_deployment(DeploymentState.DISTRIBUTING, reason=reason, progress=progress_of(regions)), regions)


def large() -> Scene:
    """Five regions of 20,000 machines: a sample of 40 of each."""
    regions = tuple(
        a_region(
            name,
            [a_machine(name, number, Phase.FETCHING, number * 2) for number in range(40)],
            20_000,
            reporting=19_990,
            fetched=12_000,
            active=4_000 * index,
            phases={"FETCHING": 7_990, "FETCHED": 12_000 - 4_000 * index, "ACTIVE": 4_000 * index},
            bytes=ByteCounts(SIZE, 15_000 * SIZE, 0),
        )
        for index, name in enumerate(("ap-south", "eu-west", "us-east"))
    )
    return a_scene(a_deployment(DeploymentState.DISTRIBUTING, progress=progress_of(regions)), regions)


def crowded() -> Scene:
    """More machines than a small terminal has room for names."""
    regions = tuple(
        a_region(
            name,
            [a_machine(name, number, [*Phase, None][(number * 7 + index) % 6], 50) for number in range(40)],
        )
        for index, name in enumerate(("ap-south", "eu-west", "us-east"))
    )
    return a_scene(a_deployment(DeploymentState.DISTRIBUTING, progress=progress_of(regions)), regions)


def succeeded() -> Scene:
    regions = tuple(
        a_region(name, [a_machine(name, number, Phase.ACTIVE) for number in (1, 2, 3, 4)])
        for name in ("ap-south", "eu-west", "us-east")
    )
    done = a_deployment(
        DeploymentState.SUCCEEDED, reason="12 of 12 machines active", distribute_s=6.2, progress=progress_of(regions)
    )
    return a_scene(done, regions)


def failed() -> Scene:
    regions = (
        a_region("eu-west", [a_machine("eu-west", n, Phase.FAILED, note=SICK) for n in (1, 2)]),
        a_region(
            "us-east",
            [a_machine("us-east", 1, Phase.FAILED, note="no space left on device; nothing healthy runs")]
            + [a_machine("us-east", n, Phase.ACTIVE) for n in (2, 3)],
        ),
    )
    reason = f"3 of 5 machines failed: eu-west-1, eu-west-2: {SICK}; us-east-1: no space left on device"
    return a_scene(a_deployment(DeploymentState.FAILED, reason=reason, progress=progress_of(regions)), regions)


def failed_build() -> Scene:
    reason = "build 5 failed: the build command exited with 2"
    return a_scene(
        a_deployment(DeploymentState.FAILED, reason=reason, artifact=None, artifact_bytes=None, build_s=None, replicate_s=None)
    )


UNFINISHED = {each.__name__: each for each in (building, queued, replicating, distributing, crowded, large)}
ENDED = {each.__name__: each for each in (succeeded, failed, failed_build)}


def drawn(name: str, paper: Paper) -> list[Line]:
    return draw([UNFINISHED[name]()], paper, NOW + 0.3) if name in UNFINISHED else summary(ENDED[name](), paper)


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("name", [*UNFINISHED, *ENDED])
def test_it_looks_as_it_should(name: str, width: int, request: pytest.FixtureRequest) -> None:
    text = "".join(plain(line) + "\n" for line in drawn(name, Paper(width, 23 if width == 80 else 49)))
    file = GOLDEN / f"{name}-{width}.txt"
    if request.config.getoption("--golden"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*UNFINISHED, *ENDED])
def test_without_unicode_it_says_the_same(name: str) -> None:
    unicode, ascii_ = (drawn(name, Paper(80, 23, symbols)) for symbols in (UNICODE, ASCII))
    assert all(plain(line).isascii() for line in ascii_)
    assert [len(plain(line)) for line in ascii_] == [len(plain(line)) for line in unicode]


def test_two_deployments_are_both_seen() -> None:
    scenes = [replace(distributing(), label="B"), replace(building(), label="C")]
    lines = [plain(line) for line in draw(scenes, Paper(80, 23), NOW)]
    assert len(lines) <= 23
    assert any(line.startswith("B  deploy web@7e583c86d2de  DISTRIBUTING") for line in lines)
    assert any(line.startswith("C  deploy web@7e583c86d2de  BUILDING") for line in lines)


def test_a_control_of_an_older_version_gives_a_picture_too() -> None:
    reason = "waiting for eu-west: 1 of 4 machines active"
    progress = Progress(total=4, reporting=3, fetched=2, active=1)
    scene = a_scene(a_deployment(DeploymentState.DISTRIBUTING, reason=reason, progress=progress))
    assert [plain(line) for line in draw([scene], Paper(80, 23), NOW)][1:] == ["2 of 4 machines have it, 1 run it", reason]


def test_a_failed_machine_is_said_once_with_what_runs_there_now() -> None:
    text = " ".join(plain(line) for line in summary(failed(), Paper(200, 49)))
    assert text.count("cannot reach db.example:5432") == 1
    assert "eu-west-1, eu-west-2: " in text
    assert text.count("runs 6d1f0c2b9a7e again") == 1


PHASES = st.sampled_from([*Phase, None])
NOTES = st.text(max_size=60)
MACHINES = st.lists(st.tuples(PHASES, st.integers(0, 100), NOTES), max_size=12)
STATES = st.sampled_from(DeploymentState)
SYMBOLS = st.sampled_from([UNICODE, ASCII])


@given(
    STATES,
    st.lists(st.tuples(MACHINES, st.integers(0, 30_000), NOTES), max_size=6),
    st.integers(1, 220),
    st.integers(1, 60),
    NOTES,
    SYMBOLS,
)
def test_it_never_leaves_its_paper(
    state: DeploymentState,
    told: list[tuple[list[tuple[Phase | None, int, str]], int, str]],
    width: int,
    height: int,
    reason: str,
    symbols: Symbols,
) -> None:
    regions = tuple(
        a_region(
            f"region-{index}",
            [a_machine(f"r{index}", number, *machine) for number, machine in enumerate(machines)],
            len(machines) + more,
            waiting_for=waits,
        )
        for index, (machines, more, waits) in enumerate(told)
    )
    deployment = a_deployment(state, reason=reason, progress=progress_of(regions))
    scene = a_scene(deployment, regions, build=a_build(BuildStatus.RUNNING), log=(reason,))
    paper = Paper(width, height, symbols)
    lines = draw([scene, replace(scene, label="B")], paper, NOW)
    assert len(lines) <= height
    shown = [*lines, *(summary(scene, paper) if state.ended else ())]
    assert max((cells(plain(line)) for line in shown), default=0) <= width
    assert all(plain(line).isprintable() for line in shown)


@given(st.lists(st.tuples(MACHINES, st.integers(0, 30_000)), max_size=6))
def test_counts_by_phase_add_up_to_every_machine(told: list[tuple[list[tuple[Phase | None, int, str]], int]]) -> None:
    regions = [
        a_region("r", [a_machine("r", number, *machine) for number, machine in enumerate(machines)], len(machines) + more)
        for machines, more in told
    ]
    assert sum(count_phases(regions).values()) == sum(region.expected for region in regions)


SAMPLES = st.lists(st.tuples(st.floats(0, 30), st.integers(0, 10**13)), max_size=40)


@given(SAMPLES, st.floats(0, 100))
def test_rates_are_never_negative_and_time_left_is_finite(steps: list[tuple[float, int]], later: float) -> None:
    samples: tuple[Sample, ...] = ()
    at = 0.0
    for wait, count in steps:
        at += wait
        samples = sampled(samples, Sample(at, count))
    speed = rate(samples, at + later)
    assert speed >= 0
    left = left_s(10**12, speed)
    assert left is None or 0 < left <= LEFT_S_MAX


@given(st.integers(1, 10**9), st.floats(0.3, 5.0))
def test_a_steady_flow_has_its_rate(per_s: int, apart: float) -> None:
    samples: tuple[Sample, ...] = ()
    for number in range(40):
        samples = sampled(samples, Sample(number * apart, round(per_s * number * apart)))
    assert rate(samples, 39 * apart) == pytest.approx(per_s, rel=0.01, abs=2)
    assert len(samples) <= 25


def test_two_answers_about_one_report_make_no_rate() -> None:
    samples = sampled(sampled((), Sample(10.0, 0)), Sample(10.001, 10**9))
    assert rate(samples, 10.1) == 0
    assert rate(sampled(samples, Sample(12.0, 10**9)), 12.0) == 10**9 / 2


def test_what_stands_still_has_no_rate_and_no_time_left() -> None:
    samples: tuple[Sample, ...] = (Sample(0.0, 0), Sample(1.0, 1000))
    for second in range(2, 12):
        samples = sampled(samples, Sample(float(second), 1000))
    assert rate(samples, 12.0) == 0
    assert rate((Sample(0.0, 0), Sample(1.0, 1000)), 60.0) == 0, "and neither has what was not heard of for a minute"
    assert left_s(10, 0.0) is None


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999B"), (1000, "1.0K"), (1 << 20, "1.0M"), (999 * MIB, "999M"), (1000 * MIB, "1.0G"), (10**13, "9.1T")],
)
def test_amounts_take_five_columns(count: int, text: str) -> None:
    assert amount(count) == text


@given(st.integers(0, 10**18))
def test_no_amount_is_wider(count: int) -> None:
    assert len(amount(count)) <= 5


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0s"), (0.5, "1s"), (59.9, "1m00s"), (3599.0, "59m59s"), (5400.0, "1h30m")]
)
def test_durations_take_six_columns(seconds: float, text: str) -> None:
    assert span_of(seconds) == text
