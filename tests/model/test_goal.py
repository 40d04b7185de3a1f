"""Who fetches, who activates, who keeps what it runs (law 4)."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.generation import Generation
from fleetcast.model.goal import EVERYONE, Cohort, Goal, Limits, ReleaseRef, activation_hash
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, MachineId, RegionName, ServiceName
from fleetcast.model.machine import Machine, Selector


def release(letter: str) -> ReleaseRef:
    return ReleaseRef(ArtifactName(f"web/{letter}"), Digest(letter * 64), Digest(letter.upper() * 64))


A, B = release("a"), release("b")
HERE = Machine(MachineId("m1"), RegionName("eu"), zone="eu-1", labels={"role": "web"})


def goal(*cohorts: Cohort, baseline: ReleaseRef | None = A) -> Goal:
    return Goal(
        ServiceName("web"),
        "production",
        Generation(0, 1),
        DeploymentId("d1"),
        False,
        Selector(),
        B,
        baseline,
        cohorts,
        Limits(),
        1000,
    )


def everyone(threshold: int = EVERYONE) -> Cohort:
    return Cohort(Selector(), threshold)


def test_the_hash_is_what_the_documentation_says() -> None:
    expected = int.from_bytes(hashlib.sha256(b"d1\0m1").digest()[:8], "big")
    assert activation_hash(DeploymentId("d1"), MachineId("m1")) == expected == 0x3E754A7C8924C25C


def test_a_machine_in_its_wave_runs_the_target() -> None:
    assert goal(everyone()).release_for(HERE, A) == B


def test_a_machine_outside_its_wave_keeps_what_it_runs() -> None:
    other = release("c")
    assert goal(everyone(threshold=0)).release_for(HERE, other) == other


def test_no_matching_cohort_is_outside() -> None:
    elsewhere = Cohort(Selector(regions=(RegionName("us"),)), EVERYONE)
    assert goal(elsewhere).release_for(HERE, A) == A


def test_the_first_matching_cohort_decides() -> None:
    closed = Cohort(Selector(zones=("eu-1",)), 0)
    assert goal(closed, everyone()).release_for(HERE, A) == A
    assert goal(everyone(), closed).release_for(HERE, A) == B


def test_an_empty_machine_takes_the_baseline_until_its_cohort_is_complete() -> None:
    almost = goal(everyone(threshold=EVERYONE - 1))
    assert almost.activates(HERE)
    assert almost.release_for(HERE, None) == A
    assert goal(everyone()).release_for(HERE, None) == B


def test_without_a_baseline_an_empty_machine_takes_the_target_by_its_wave() -> None:
    assert goal(everyone(threshold=0), baseline=None).release_for(HERE, None) is None
    assert goal(everyone(threshold=EVERYONE - 1), baseline=None).release_for(HERE, None) == B


def test_a_selector_wants_all_its_conditions() -> None:
    assert Selector(regions=(RegionName("eu"), RegionName("us")), zones=("eu-1",), labels={"role": "web"}).matches(HERE)
    assert not Selector(labels={"role": "db"}).matches(HERE)
    assert not Selector(regions=(RegionName("us"),)).matches(HERE)


@given(st.text("abcdefgh0123", min_size=1, max_size=8), st.integers(0, EVERYONE), st.integers(0, EVERYONE))
def test_a_growing_threshold_only_lets_machines_in(name: str, first: int, second: int) -> None:
    low, high = sorted((first, second))
    machine = replace(HERE, id=MachineId(name))
    if goal(everyone(low)).activates(machine):
        assert goal(everyone(high)).activates(machine)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**45))
def test_generations_only_grow(epoch: int, counter: int, now_ms: int) -> None:
    generation = Generation(epoch, counter)
    assert generation < generation.next() < generation.next().raised(now_ms)
    assert generation.raised(now_ms).epoch >= now_ms
