"""What a deployment would do about those that are under way."""

from __future__ import annotations

import pytest

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.ids import DeploymentId
from fleetcast.model.limits import REASON_NAMES_MAX
from fleetcast.model.plan import WhenBusy
from fleetcast.rollouts.in_line import UnderWay, turn

ONE = UnderWay(DeploymentId("d1"), DeploymentState.DISTRIBUTING)
OTHER = UnderWay(DeploymentId("d2"), DeploymentState.BUILDING)


@pytest.mark.parametrize(
    ("when_busy", "under_way", "said"),
    [
        (WhenBusy.QUEUE, (), ""),
        (WhenBusy.SUPERSEDE, (), ""),
        (
            WhenBusy.QUEUE,
            (ONE,),
            "it would stand in line behind deployment d1, which is DISTRIBUTING, until that has ended",
        ),
        (
            WhenBusy.QUEUE,
            (ONE, OTHER),
            "it would stand in line behind deployment d1, which is DISTRIBUTING, and 1 more, until they have ended",
        ),
        (
            WhenBusy.SUPERSEDE,
            (ONE,),
            "it would supersede deployment d1, which is DISTRIBUTING, unless that has ended when its release is deployable",
        ),
    ],
)
def test_it_is_told_in_a_line(when_busy: WhenBusy, under_way: tuple[UnderWay, ...], said: str) -> None:
    assert turn(when_busy, under_way) == said


def test_of_many_a_few_are_named() -> None:
    said = turn(WhenBusy.SUPERSEDE, [OTHER] * (REASON_NAMES_MAX + 7))
    assert said.count("which is BUILDING") == REASON_NAMES_MAX
    assert " and 7 more, unless they have ended" in said
