"""Region, origin and machines go away while the swarm is at work: it finishes what it can, and the rest when they are back.

In every test the last word is what is on the machines' disks.
"""

from __future__ import annotations

from functools import partial
from statistics import fmean

import pytest

from running import wait_until
from swarming import FEW, MACHINES, MANY, Artifact, Swarming

pytestmark = pytest.mark.timeout(240)

DYING = MACHINES[:3]
LATE = MACHINES[:4]


def everything_together(swarming: Swarming, artifact: Artifact) -> bool:
    """There is no piece that none of the machines has, and none has all; on average they are in the middle."""
    shares = [swarming.share(machine, artifact) for machine in MACHINES]
    return FEW <= fmean(shares) <= MANY and max(shares) < 1 and swarming.together(MACHINES, artifact) == 1


def test_the_region_dies_when_the_swarm_has_everything(swarming: Swarming) -> None:
    """Tracker, leases and the origin's data port are gone, and stay so."""
    artifact = swarming.reach(partial(everything_together, swarming), "it has everything together", kill=["region"])
    swarming.assert_whole(MACHINES, artifact)
    assert "region" not in swarming.company.programs


def test_the_region_dies_when_the_swarm_has_not_everything(swarming: Swarming) -> None:
    """It goes on when there is a region again, which knows nothing of the one before."""

    def a_part(artifact: Artifact) -> bool:
        return FEW <= swarming.together(MACHINES, artifact) <= MANY

    swarming.network.set_rate("origin", 8)
    artifact = swarming.reach(a_part, "it has a part together", kill=["region"])

    def evened_out() -> bool:
        """What was on its way counts too."""
        there_is = swarming.together(MACHINES, artifact)
        return all(swarming.share(machine, artifact) == there_is for machine in MACHINES)

    wait_until(evened_out, "everybody has what there is to have")
    assert swarming.together(MACHINES, artifact) < 1
    swarming.network.set_rate("origin", 0)
    swarming.company.start_region()
    swarming.assert_whole(MACHINES, artifact)


def test_the_origin_is_cut_off_when_the_swarm_has_everything(swarming: Swarming) -> None:
    """Unlike one that is dead it does not answer at all."""
    artifact = swarming.reach(partial(everything_together, swarming), "it has everything together")
    swarming.network.cut("origin")
    assert not any(swarming.whole(machine, artifact) for machine in MACHINES)
    swarming.assert_whole(MACHINES, artifact)


def test_the_origin_is_slow_when_the_swarm_has_everything(swarming: Swarming) -> None:
    artifact = swarming.reach(partial(everything_together, swarming), "it has everything together")
    swarming.network.set_rate("origin", 0.1)
    assert not any(swarming.whole(machine, artifact) for machine in MACHINES)
    swarming.assert_whole(MACHINES, artifact)


def test_a_third_of_the_machines_die(swarming: Swarming) -> None:
    """Two processes are killed, one machine is off the network. The others finish without them, and they when they are back."""
    *killed, cut = DYING
    artifact = swarming.reach(
        partial(swarming.in_the_middle, DYING), "they are in the middle", kill=[f"agent-{name}" for name in killed]
    )
    swarming.network.cut(cut)
    swarming.assert_whole([name for name in MACHINES if name not in DYING], artifact)
    had = {name: swarming.share(name, artifact) for name in DYING}
    assert all(FEW <= share < 1 for share in had.values()), had
    swarming.recover()
    swarming.assert_whole(DYING, artifact)


def test_machines_come_late(swarming: Swarming) -> None:
    """Some while the others are at work, one when they are done; the origin does not begin again for their sake."""
    *early, last = LATE
    for name in LATE:
        swarming.end(f"agent-{name}")
    others = [name for name in MACHINES if name not in LATE]
    artifact = swarming.reach(partial(swarming.in_the_middle, others), "the others are in the middle", among=others)
    for name in early:
        swarming.company.start_agent(swarming.hosts[name])
    swarming.assert_whole([*others, *early], artifact)
    swarming.company.start_agent(swarming.hosts[last])
    swarming.assert_whole([last], artifact)
    assert swarming.sources(last)["origin"] == 0
    assert sum(swarming.sources(name)["origin"] for name in LATE) < artifact.release.content_bytes / 4


def test_both_holders_of_what_was_leased_die(swarming: Swarming) -> None:
    """What the origin gave away is on no living machine's disk: it is given once more."""
    holders, others = MACHINES[:2], MACHINES[2:]
    for name in others:
        swarming.end(f"agent-{name}")

    def both_hold(artifact: Artifact) -> bool:
        shared = swarming.has(holders[0], artifact) & swarming.has(holders[1], artifact)
        return bool(shared) and swarming.in_the_middle(holders, artifact)

    artifact = swarming.reach(both_hold, "both are in the middle", among=holders, kill=[f"agent-{name}" for name in holders])
    for name in others:
        swarming.company.start_agent(swarming.hosts[name])
    swarming.assert_whole(others, artifact)
    swarming.recover()
    swarming.assert_whole(holders, artifact)
