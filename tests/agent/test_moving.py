"""A machine that goes from one environment of a service to another: it runs the service once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.agent.layout import ServiceKey
from fleetcast.agent.moving import left, pursued
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, Limits, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, ServiceName
from fleetcast.model.machine import Selector

REF = ReleaseRef(ArtifactName("web/a"), Digest("a" * 64), Digest("b" * 64))
KEYS = st.builds(ServiceKey, st.sampled_from(["staging", "production", "qa"]), st.sampled_from(["web", "api"]))


def a_goal(key: ServiceKey, removed: bool) -> Goal:
    return Goal(
        ServiceName(key.service),
        key.environment,
        Generation(0, 1),
        DeploymentId("d1"),
        False,
        Selector(),
        REF,
        None,
        (),
        Limits(),
        10**15,
        removed,
    )


@given(st.dictionaries(KEYS, st.booleans()), st.frozensets(KEYS))
def test_a_service_begins_in_one_environment_once_it_has_ended_in_the_others(
    removed: dict[ServiceKey, bool], here: frozenset[ServiceKey]
) -> None:
    goals = {key: a_goal(key, gone) for key, gone in removed.items()}
    going = pursued(goals, here)
    for key, goal in going.items():
        assert (goal.environment, goal.service) == (key.environment, key.service)
        if not goal.removed:
            assert goal is goals[key]
            assert not any(other.service == key.service and other not in goals for other in here)
    for key in here - goals.keys():
        meant = any(other.service == key.service and not goal.removed for other, goal in goals.items())
        assert (key in left(goals, here)) == meant == (key in going), "without another goal, what runs stays"
    assert pursued(goals, here & goals.keys()) == goals, "what nobody leaves goes on as its goal says"


async def test_what_runs_in_the_environment_before_ends_first(
    region: Any, agents: Callable[..., Any], until: Any, tmp_path: Path
) -> None:
    """Both want the same lock, as they would a port."""
    serve = 'mkdir "$HOME_OF_ALL/lock" || exit 1; trap \'rmdir "$HOME_OF_ALL/lock"; exit 0\' TERM; while :; do sleep 0.02; done'
    release = region.publish(tmp_path, {"version": "a"}, activate=serve, health='test -e "$HOME_OF_ALL/lock"')
    agent = agents(environment={"HOME_OF_ALL": str(tmp_path)})
    await agent.start()
    production = region.want(release, 1, selector=Selector(labels={"env": "production"}))
    staging = replace(production, environment="staging", selector=Selector(labels={"env": "staging"}))
    region.give("m1", env="production")
    await region.reported(production, "ACTIVE")
    before = agent.service()

    region.give("m1", env="staging")
    await until(lambda: region.machines["m1"].labels.get("env") == "staging")
    assert (before / "current").exists(), "nobody else means it: what runs stays"
    region.set_goals(web=replace(staging, deployment=DeploymentId("d2")))
    await region.reported(replace(staging, deployment=DeploymentId("d2")), "ACTIVE")
    after = agent.config.root / "services" / "staging" / "web"
    assert (after / "current").exists()
    assert not (before / "current").exists()
    assert list((before / "releases").iterdir()) == []
    assert (before / "data").is_dir()

    await agent.stop()
    await agent.start()
    await region.reported(replace(staging, deployment=DeploymentId("d2")), "ACTIVE")
    region.give("m1", env="production")
    region.set_goals(web=replace(production, deployment=DeploymentId("d3"), generation=Generation(0, 2)))
    await region.reported(replace(production, deployment=DeploymentId("d3")), "ACTIVE")
    assert (before / "current").exists()
    assert not (after / "current").exists()
