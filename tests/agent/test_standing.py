"""What a machine says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetcast.agent.standing import Clock, FetchStanding, service_report
from fleetcast.agent.state import Activation, Active, Failure, Fetched, ServiceState
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, Limits, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, ServiceName
from fleetcast.model.machine import Selector
from fleetcast.model.report import Phase, ServiceReport


def release(name: str) -> ReleaseRef:
    return ReleaseRef(ArtifactName(f"web/{name}"), Digest(name * 64), Digest(name.upper() * 64))


A, B = release("a"), release("b")
ACTIVE_A, ACTIVE_B = Active(A, "x", True, "boot", 100), Active(B, "y", True, "boot", 100)
D1 = DeploymentId("d1")
GOAL = Goal(ServiceName("web"), "production", Generation(0, 1), D1, False, Selector(), B, A, (), Limits(), 0)


def report(state: ServiceState, *, whole: bool = True, fetch: FetchStanding | None = None, boot: str = "boot") -> ServiceReport:
    return service_report(
        GOAL,
        state,
        whole=whole,
        content_size=10 if whole else 0,
        up=True,
        fetch=fetch,
        waiting_for="its wave",
        error="",
        clock=Clock(boot, 1100),
    )


BEGUN = Activation("z", B, D1, Generation(0, 1))
SICK = (Failure(D1, B.root, "sick"),)


@pytest.mark.parametrize(
    ("state", "whole", "phase", "running"),
    [
        (ServiceState(active=ACTIVE_A), False, Phase.FETCHING, A),
        (ServiceState(active=ACTIVE_A), True, Phase.FETCHED, A),
        (ServiceState(active=ACTIVE_A, activation=BEGUN), True, Phase.ACTIVATING, None),
        (ServiceState(active=ACTIVE_B), True, Phase.ACTIVE, B),
        (ServiceState(active=ACTIVE_A, failures=SICK), True, Phase.FAILED, A),
        (ServiceState(active=ACTIVE_A, failures=SICK, activation=replace(BEGUN, release=A)), True, Phase.FAILED, None),
        (ServiceState(active=replace(ACTIVE_A, passed=False), failures=SICK), True, Phase.FAILED, None),
        (ServiceState(), True, Phase.FETCHED, None),
    ],
)
def test_the_phase_is_about_the_target_and_running_about_what_is_healthy(
    state: ServiceState, whole: bool, phase: Phase, running: ReleaseRef | None
) -> None:
    told = report(state, whole=whole)
    assert (told.phase, told.running) == (phase, running)
    assert told.error == ("sick" if state.failures else "")


def test_a_failed_machine_waits_until_it_has_gone_back() -> None:
    going_back = replace(BEGUN, release=A)
    assert report(ServiceState(active=ACTIVE_A, failures=SICK, activation=going_back)).waiting_for == "its wave"
    assert report(ServiceState(active=ACTIVE_A, failures=SICK)).waiting_for == ""


def test_what_was_on_disk_counts_as_local() -> None:
    assert report(ServiceState()).bytes == ByteCounts(local=10)
    other = Fetched(DeploymentId("d0"), B.root, ByteCounts(peer=10))
    assert report(ServiceState(fetched=other)).bytes == ByteCounts(local=10), "fetched for another deployment"


def test_what_was_fetched_counts_as_it_came() -> None:
    counts = ByteCounts(origin=1, peer=7, local=2)
    assert report(ServiceState(fetched=Fetched(D1, B.root, counts))).bytes == counts
    told = report(ServiceState(), whole=False, fetch=FetchStanding(B, ByteCounts(peer=3), 10, "7 pieces"))
    assert (told.bytes, told.target_bytes, told.waiting_for) == (ByteCounts(peer=3), 10, "7 pieces")
    assert report(ServiceState(), whole=False, fetch=FetchStanding(A, ByteCounts(peer=3), 10)).bytes == ByteCounts()


def test_the_age_of_the_health_check_is_of_this_boot() -> None:
    assert report(ServiceState(active=ACTIVE_B)).active_age_ms == 1000
    assert report(ServiceState(active=ACTIVE_B), boot="next").active_age_ms == 1100
    assert report(ServiceState(active=ACTIVE_A)).active_age_ms == 0
