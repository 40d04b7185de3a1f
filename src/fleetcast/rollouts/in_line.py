"""What becomes of deployments that are under way when another one of the service is triggered, as people are told (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.ids import DeploymentId
from fleetcast.model.limits import REASON_NAMES_MAX
from fleetcast.model.plan import WhenBusy
from fleetcast.rollouts.reasons import and_more


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A deployment that has not ended."""

    id: DeploymentId
    state: DeploymentState

    @property
    def words(self) -> str:
        return f"deployment {self.id}, which is {self.state}"


def turn(when_busy: WhenBusy, under_way: Sequence[UnderWay]) -> str:
    """What one that is triggered now does about those ``under_way``, in the order of their triggers; empty: there are none."""
    if not under_way:
        return ""
    ended = "that has ended" if len(under_way) == 1 else "they have ended"
    if when_busy is WhenBusy.QUEUE:
        others = and_more(len(under_way) - 1, ", ")
        return f"it would stand in line behind {under_way[0].words}{others}, until {ended}"
    named = "; ".join(each.words for each in under_way[:REASON_NAMES_MAX]) + and_more(len(under_way) - REASON_NAMES_MAX)
    return f"it would supersede {named}, unless {ended} when its release is deployable"
