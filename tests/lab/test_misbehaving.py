"""A member with a real ticket that says it has everything, and then does not keep its word. The swarm does without it."""

from __future__ import annotations

from collections import Counter

import pytest

from fleetcast.model.limits import SWARM_DIALS_IN_VAIN_MAX, SWARM_LACKS_MAX
from lab.liar import Manner
from running import wait_until
from swarming import MACHINES, LiarAtWork, Swarming

pytestmark = pytest.mark.timeout(240)


def deploy_with(swarming: Swarming, manner: Manner) -> LiarAtWork:
    """Until every machine is whole, in a swarm in which nobody was before that one, who was asked for pieces."""
    artifact = swarming.publish()
    with swarming.liar(manner, artifact) as liar:
        swarming.company.deploy(artifact.release)
        swarming.assert_whole(MACHINES, artifact)
        assert liar.told("asked")
        wait_until(lambda: len(liar.told("ended")) == len(liar.told("greeted")), "nobody has to do with it any more")
        return liar


def test_one_that_sends_wrong_bytes_is_named_dropped_and_reported_within_one_chunk(swarming: Swarming) -> None:
    liar = deploy_with(swarming, Manner.LIE)
    answers = {line["by"]: line for line in liar.told("answered")}
    assert answers
    for machine, answer in answers.items():
        assert answer["said"] == ["wrong_bytes", answer["piece"]], "after one chunk it is told which was wrong"
        assert max(line["connection"] for line in liar.told("greeted") if line["by"] == machine) == answer["connection"]

    def named() -> set[str]:
        said = swarming.company.fleetcast("status")
        return {machine for machine in answers if f"{machine}: liar sent wrong bytes for piece" in said}

    wait_until(lambda: named() == set(answers), "every machine that was deceived says so")


def test_one_that_stalls_is_worked_around(swarming: Swarming) -> None:
    deploy_with(swarming, Manner.STALL)


def test_one_that_closes_is_not_tried_for_ever(swarming: Swarming) -> None:
    liar = deploy_with(swarming, Manner.CLOSE)
    assert max(Counter(line["by"] for line in liar.told("greeted")).values()) <= SWARM_DIALS_IN_VAIN_MAX


def test_one_that_announces_what_it_has_not_is_left(swarming: Swarming) -> None:
    liar = deploy_with(swarming, Manner.BOAST)
    asked: dict[int, list[int]] = {}
    for line in liar.told("asked"):
        asked.setdefault(line["connection"], []).append(len(line["pieces"]))
    for counts in asked.values():
        assert sum(counts) <= SWARM_LACKS_MAX + max(counts), "what had been asked before it was known comes on top"
